"""Vagrant boxes from the same images as guests: what ``vagrant/Vagrantfile`` asks for.

The life of a box: userland, the kernel's layer and a layer of the box's own (``layer``: sshd, sudo, init, DHCP, the command line, a boot
loader) become the partitions of one disk (``box``), with drivers for disks that QEMU does not have (``drivers``) and, for VirtualBox, a
description of the machine's hardware (``virtualbox``). The Vagrantfile asks ``vagrantfile`` which box and what machine; what libvirt
keeps of old boxes goes the same way.

Read ``box``, ``layer``, ``vagrantfile``. What runs on a machine that is up is in :mod:`harness.backends.vagrant`.
"""
