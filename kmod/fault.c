// SPDX-License-Identifier: GPL-2.0-only
/* Allocations that fail: of one task, while core works on one of its arrays. */
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <net/genetlink.h>

#include "internal.h"

/* What kvzalloc() has come to, kernel by kernel. */
static const char *const nfh_allocators[] = {
	"__kvmalloc_node_noprof",
	"kvmalloc_node_noprof",
	"kvmalloc_node",
};

/**
 * struct nfh_fault - the one fault there can be
 *
 * @lock: protects the rest
 * @probe: on core's allocator while the fault is armed
 * @task: whose allocations
 * @fail: bits of those to come, the next one's the lowest
 * @count: length of @memory
 * @memory: what the failed ones got, to be freed
 */
static struct nfh_fault {
	struct mutex lock;
	struct kretprobe probe;
	struct task_struct *task;
	u32 fail;
	u32 count;
	void *memory[32];
} nfh_fault = {
	.lock = __MUTEX_INITIALIZER(nfh_fault.lock),
};

static int nfh_fault_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return current != nfh_fault.task || !in_task();
}
NOKPROBE_SYMBOL(nfh_fault_entry);

static int nfh_fault_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	bool fail = nfh_fault.fail & 1;

	nfh_fault.fail >>= 1;
	if (fail && nfh_fault.count < ARRAY_SIZE(nfh_fault.memory)) {
		nfh_fault.memory[nfh_fault.count++] = (void *)regs_return_value(regs);
		regs_set_return_value(regs, 0);
	}
	return 0;
}
NOKPROBE_SYMBOL(nfh_fault_return);

static int nfh_fault_arm(u32 fail)
{
	int err = -ENOENT;
	u32 i;

	nfh_fault.task = current;
	nfh_fault.fail = fail;
	nfh_fault.count = 0;
	for (i = 0; i < ARRAY_SIZE(nfh_allocators) && err; i++) {
		memset(&nfh_fault.probe, 0, sizeof(nfh_fault.probe));
		nfh_fault.probe.kp.symbol_name = nfh_allocators[i];
		nfh_fault.probe.entry_handler = nfh_fault_entry;
		nfh_fault.probe.handler = nfh_fault_return;
		nfh_fault.probe.maxactive = 64;
		err = register_kretprobe(&nfh_fault.probe);
	}
	return err;
}

static void nfh_fault_disarm(void)
{
	unregister_kretprobe(&nfh_fault.probe);
	while (nfh_fault.count)
		kvfree(nfh_fault.memory[--nfh_fault.count]);
}

/* Before a call of core's that NFHARNESS_CMD_FAIL_NEXT may have been about. */
void nfh_fault_begin(struct nfh_net *nn)
{
	lockdep_assert_held(&nn->lock);
	if (!nn->fail)
		return;
	mutex_lock(&nfh_fault.lock);
	if (nfh_fault_arm(nn->fail)) {
		nn->fail = 0;
		mutex_unlock(&nfh_fault.lock);
	}
}

void nfh_fault_end(struct nfh_net *nn)
{
	if (!nn->fail)
		return;
	nn->fail = 0;
	nfh_fault_disarm();
	mutex_unlock(&nfh_fault.lock);
}

int nfh_fail_next_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	int err;

	if (!info->attrs[NFHARNESS_A_FAIL]) {
		NL_SET_ERR_MSG(info->extack, "attribute FAIL is missing");
		return -EINVAL;
	}
	/* To know now that it will do. */
	mutex_lock(&nfh_fault.lock);
	err = nfh_fault_arm(0);
	if (!err)
		nfh_fault_disarm();
	mutex_unlock(&nfh_fault.lock);
	if (err) {
		NL_SET_ERR_MSG(info->extack, "no kretprobe can be put on the kernel's allocator");
		return -EOPNOTSUPP;
	}
	mutex_lock(&nn->lock);
	nn->fail = nla_get_u32(info->attrs[NFHARNESS_A_FAIL]);
	mutex_unlock(&nn->lock);
	return 0;
}
