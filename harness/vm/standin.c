/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Preloaded where BCC only compiles (bytecode.py): what it asks of the running kernel is answered for the one that the programs are for.
 * A table is a file that stays empty, whose descriptor marks it in the byte code; the release names the headers to compile with.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

int bpf_map_create(void)
{
	return memfd_create("table", MFD_CLOEXEC);
}

int uname(struct utsname *name)
{
	int failed = syscall(SYS_uname, name);

	strncpy(name->release, getenv("RELEASE"), sizeof(name->release) - 1);
	return failed;
}
