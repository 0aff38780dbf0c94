// SPDX-License-Identifier: GPL-2.0-only
/* Where core gets its arrays from: a probe there. */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/string.h>

#include "internal.h"

/* What kvzalloc() has come to, kernel by kernel. */
static const char *const nfh_allocators[] = {
	"__kvmalloc_node_noprof",
	"kvmalloc_node_noprof",
	"kvmalloc_node",
};

/**
 * nfh_probe_allocator - put a kretprobe on what core allocates arrays with
 *
 * @probe: the caller's, until it is unregistered
 * @entry: see &struct kretprobe.entry_handler
 * @handler: see &struct kretprobe.handler
 *
 * Return: 0, or what register_kretprobe() answered of the last of the kernels' allocators.
 */
int nfh_probe_allocator(struct kretprobe *probe, kretprobe_handler_t entry,
			kretprobe_handler_t handler)
{
	int err = -ENOENT;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(nfh_allocators) && err; i++) {
		memset(probe, 0, sizeof(*probe));
		probe->kp.symbol_name = nfh_allocators[i];
		probe->entry_handler = entry;
		probe->handler = handler;
		probe->maxactive = 64;
		err = register_kretprobe(probe);
	}
	return err;
}
