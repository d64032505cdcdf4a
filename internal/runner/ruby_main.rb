# The script must not see the runner. Its methods find their constants all the same.
runner = WarmCGI
Object.send(:remove_const, :WarmCGI)
order = ORDER
Object.send(:remove_const, :ORDER)
runner.start(__FILE__, *order)
