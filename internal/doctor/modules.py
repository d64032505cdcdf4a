# Prints the modules that a script imports at its top and that are not to be found. Isolated
# mode (-I) keeps what lies beside the script from taking part.
import ast
import importlib.util
import os
import sys

file = sys.argv[1]
with open(file, 'rb') as f:
    tree = ast.parse(f.read(), file)
sys.path[:0] = [os.path.dirname(file)] + [p for p in os.environ.get('PYTHONPATH', '').split(os.pathsep) if p]
for node in tree.body:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module]
    else:
        if any(isinstance(n, ast.Attribute) and n.attr == 'path' for n in ast.walk(node)):
            break  # sys.path may be another one from here on
        continue
    for name in names:
        root = name.split('.')[0]
        if root not in sys.builtin_module_names and root not in sys.modules and importlib.util.find_spec(root) is None:
            print(root)
