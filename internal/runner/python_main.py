# The start. A worker has left all frames of functions behind.

# To free what the parent has made would copy its pages.
KEPT = sys._getframe().f_code, sys._getframe().f_back.f_code
worker = main()
worker.start()
if worker.reuse:
    if WITHOUT_FRAMES:
        Trapdoor('stderr', lambda: worker.reuse.serve)
    else:
        worker.reuse.serve()
else:
    worker.receive()
    if WITHOUT_FRAMES:
        Trapdoor('stderr', worker.run)
    else:
        worker.warn()
        try:
            exec(worker.script.code, worker.script.main.__dict__)
        except BaseException as err:
            worker.error = strip(err)
        worker.finish()
