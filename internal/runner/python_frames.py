# In plain Python the script's frame is the first: traceback.print_stack() and inspect.stack() show it. After a
# program the interpreter calls sys.stderr.flush(), then sys.stdout.flush(), from C. So the runner, too, is a
# program that ends: the flush of sys.stderr is the script, and that of sys.stdout what comes after it.

WITHOUT_FRAMES = (3, 8) <= sys.version_info < (3, 14)  # as far as it was tried


class Trapdoor:
    """Stands for a standard stream until the interpreter flushes it."""

    def __init__(self, name, do):
        self.name, self.do, self.stream, self.thread = name, do, getattr(sys, name), _thread.get_ident()
        setattr(sys, name, self)

    @property
    def flush(self):
        if _thread.get_ident() != self.thread:
            return self.stream.flush
        setattr(sys, self.name, self.stream)
        return self.do()

    def __getattr__(self, name):  # other threads write
        return getattr(self.stream, name)


TOKEN = 'worker ' + os.urandom(8).hex()  # stands for it in the source


def enclosed(tree, worker):
    """The script's code, but it tells the worker how it ended. C would drop its exception."""
    first = 0
    for s in tree.body:
        docstring = first == 0 and isinstance(s, _ast.Expr) and isinstance(s.value, _ast.Constant)
        if not docstring and not (isinstance(s, _ast.ImportFrom) and s.module == '__future__'):
            break
        first += 1
    rest = tree.body[first:] or [at(_ast.Pass(), 1)]
    line = rest[-1].end_lineno
    attempt = at(_ast.Try(rest, [at(_ast.ExceptHandler(None, None, [tells('caught', line)]), line)], [], []), rest[0].lineno)
    code = compile(_ast.Module(tree.body[:first] + [attempt, tells('ended', line)], []), worker.script.path, 'exec', 0, True)
    return code.replace(co_consts=tuple(worker if type(c) is str and c == TOKEN else c for c in code.co_consts))


def tells(what, line):
    method = at(_ast.Attribute(at(_ast.Constant(TOKEN), line), what, _ast.Load()), line)
    return at(_ast.Expr(at(_ast.Call(method, [], []), line)), line)


def at(node, line):
    node.lineno = node.end_lineno = line
    node.col_offset = node.end_col_offset = 0
    return node
