"""What a guest is made of, on disk: kernels from Debian's archive or a developer's tree, the userland, and what joins the two.

The life of an image: a kernel's name (``specs``) becomes one exact build, of the archive (``kernels``, ``archive``, ``archive_pool`` for
what no index lists any more) or of a developer's tree (``kernel_tree``); the one userland that all guests share is fetched and installed
(``userland``, ``guest_packages``); a layer with the kernel's modules and headers is laid beside it (``layers``, ``treecopy``); nfharness.ko
is built against those headers (``kmodule``). :mod:`harness.vm` boots what lies here.

Read ``specs``, ``kernels``, ``userland``, ``layers`` in this order. ``config`` and ``elf`` read a kernel's configuration and ``vmlinux``,
``kernel_build`` builds a kernel from Debian's ``sources`` with ``patches`` and one of the ``flavours`` (``counted``: those whose lines gcov
counts), ``toolchain`` finds the compiler that a tree was built with, ``selftests`` gets the kernel's own tests, ``suites`` knows other
projects' and ``upstream`` gets their sources, ``packages`` installs what a guest is to have beside the userland, and ``refusals`` says why
apt does not. ``source_lines`` puts lines of a tree's sources into its kernel's log. Nothing here starts a guest.
"""
