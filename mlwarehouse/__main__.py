"""``python -m mlwarehouse`` is the command ``mlwarehouse``."""

from mlwarehouse.cli import main

if __name__ == "__main__":
    main()
