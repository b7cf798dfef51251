from mlwarehouse._version import __version__
