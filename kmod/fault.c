// SPDX-License-Identifier: GPL-2.0-only
/* Allocations that fail: of one task, in core's arrays or for a new namespace. */
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/proc_fs.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <net/genetlink.h>

#include "internal.h"

/**
 * struct nfh_fault - the one fault there can be
 *
 * @lock: protects the rest
 * @probe: on core's allocator while the fault is armed
 * @proved: @probe was there once
 * @task: whose allocations
 * @fail: bits of those to come, the next one's the lowest
 * @count: length of @memory
 * @memory: what the failed ones got, to be freed
 * @mkdir: on procfs's mkdir while @maker is set
 * @maker: task whose new namespaces get no directory, or NULL
 */
static struct nfh_fault {
	struct mutex lock;
	struct kretprobe probe;
	bool proved;
	struct task_struct *task;
	u32 fail;
	u32 count;
	void *memory[32];
	struct kprobe mkdir;
	struct task_struct *maker;
} nfh_fault = {
	.lock = __MUTEX_INITIALIZER(nfh_fault.lock),
};

/* A softirq may have come on top of the task. Not in_task(): where the probe is
 * an int3, it is as in an NMI.
 */
static int nfh_fault_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return current != nfh_fault.task || in_serving_softirq();
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
	nfh_fault.task = current;
	nfh_fault.fail = fail;
	nfh_fault.count = 0;
	return nfh_probe_allocator(&nfh_fault.probe, nfh_fault_entry, nfh_fault_return);
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
	if (nn->fail) {
		mutex_lock(&nfh_fault.lock);
		if (nfh_fault_arm(nn->fail)) {
			nn->fail = 0;
			mutex_unlock(&nfh_fault.lock);
		}
	}
	nfh_memory_begin();
}

void nfh_fault_end(struct nfh_net *nn)
{
	nfh_memory_end();
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

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	if (!info->attrs[NFHARNESS_A_FAIL]) {
		NL_SET_ERR_MSG(info->extack, "attribute FAIL is missing");
		return -EINVAL;
	}
	/* To know now that it will do; once, as unregistering a probe waits for RCU. */
	mutex_lock(&nfh_fault.lock);
	if (!nfh_fault.proved) {
		err = nfh_fault_arm(0);
		if (!err)
			nfh_fault_disarm();
		nfh_fault.proved = !err;
	}
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

/* netfilter_net_init() gets NULL for its directory, from a function that returns 0
 * whatever it is given, and that is still there when the module is not: a task
 * may be held up in it.
 */
static int nfh_mkdir_pre(struct kprobe *p, struct pt_regs *regs)
{
	const char *name = (const char *)regs_get_kernel_argument(regs, 0);

	if (current != nfh_fault.maker || strcmp(name, "netfilter"))
		return 0;
	instruction_pointer_set(regs, (unsigned long)noop_fsync);
	return 1;
}
NOKPROBE_SYMBOL(nfh_mkdir_pre);

/* Being there, it keeps the probe from becoming a jump, which comes back. */
static void nfh_mkdir_post(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}
NOKPROBE_SYMBOL(nfh_mkdir_post);

static int nfh_fault_make(void)
{
	int err;

	memset(&nfh_fault.mkdir, 0, sizeof(nfh_fault.mkdir));
	nfh_fault.mkdir.symbol_name = "_proc_mkdir"; /* of proc_net_mkdir() */
	nfh_fault.mkdir.pre_handler = nfh_mkdir_pre;
	nfh_fault.mkdir.post_handler = nfh_mkdir_post;
	nfh_fault.maker = get_task_struct(current);
	err = register_kprobe(&nfh_fault.mkdir);
	if (err) {
		put_task_struct(nfh_fault.maker);
		nfh_fault.maker = NULL;
	}
	return err;
}

/* Every namespace is made as usual again. */
void nfh_fault_unmake(void)
{
	mutex_lock(&nfh_fault.lock);
	if (nfh_fault.maker) {
		unregister_kprobe(&nfh_fault.mkdir);
		put_task_struct(nfh_fault.maker);
		nfh_fault.maker = NULL;
	}
	mutex_unlock(&nfh_fault.lock);
}

int nfh_fail_netns_doit(struct sk_buff *skb, struct genl_info *info)
{
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	nfh_fault_unmake();
	if (!info->attrs[NFHARNESS_A_FAIL] || !nla_get_u32(info->attrs[NFHARNESS_A_FAIL]))
		return 0;
	mutex_lock(&nfh_fault.lock);
	err = nfh_fault.maker ? -EBUSY : nfh_fault_make();
	mutex_unlock(&nfh_fault.lock);
	if (err == -EBUSY) {
		NL_SET_ERR_MSG(info->extack, "another task has asked for that just now");
	} else if (err) {
		NL_SET_ERR_MSG(info->extack, "no kprobe can be put on procfs's mkdir");
		err = -EOPNOTSUPP;
	}
	return err;
}
