"""`python -m gitdata`: how hooks call the interpreter that installed them."""

from gitdata.cli import main

if __name__ == "__main__":
    main()
