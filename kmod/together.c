// SPDX-License-Identifier: GPL-2.0-only
/* Two tasks that change one point's array at once: the second comes while the first allocates. */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/netdevice.h>
#include <linux/ptrace.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/timekeeping.h>
#include <net/genetlink.h>

#include "internal.h"

/* The first waits so long for the second to be through, which a mutex keeps out. */
#define NFH_TOGETHER_NS	    (20 * NSEC_PER_MSEC)
#define NFH_TOGETHER_MAX_NS (500 * NSEC_PER_MSEC)

/**
 * struct nfh_together - a pair under way
 *
 * @lock: for one at a time
 * @probe: on core's allocator
 * @task: the first
 * @net: namespace
 * @ops: of the second
 * @registers: or else it unregisters
 * @allocates: the first has come to its allocation
 * @calls: the second calls core
 * @through: the second is through
 * @err: what core answered to the second
 * @done: when the second's task is through
 */
static struct nfh_together {
	struct mutex lock;
	struct kretprobe probe;
	struct task_struct *task;
	struct net *net;
	const struct nf_hook_ops *ops;
	bool registers;
	bool allocates;
	bool calls;
	bool through;
	int err;
	struct completion done;
} nfh_together = {
	.lock = __MUTEX_INITIALIZER(nfh_together.lock),
};

static int nfh_together_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return current != nfh_together.task || in_serving_softirq() ||
	       READ_ONCE(nfh_together.allocates);
}
NOKPROBE_SYMBOL(nfh_together_entry);

static int nfh_together_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	u64 since = ktime_get_mono_fast_ns(), now = since, called = 0;

	WRITE_ONCE(nfh_together.allocates, true);
	while (!READ_ONCE(nfh_together.through) && now - since < NFH_TOGETHER_MAX_NS) {
		if (READ_ONCE(nfh_together.calls) && !called)
			called = now;
		if (called && now - called > NFH_TOGETHER_NS)
			break;
		cpu_relax();
		now = ktime_get_mono_fast_ns();
	}
	return 0;
}
NOKPROBE_SYMBOL(nfh_together_return);

static int nfh_together_second(void *unused)
{
	u64 since = ktime_get_mono_fast_ns();

	while (!READ_ONCE(nfh_together.allocates) &&
	       ktime_get_mono_fast_ns() - since < NFH_TOGETHER_MAX_NS) {
		cpu_relax();
		cond_resched();
	}
	WRITE_ONCE(nfh_together.calls, true);
	if (nfh_together.registers)
		nfh_together.err = nf_register_net_hook(nfh_together.net, nfh_together.ops);
	else
		nf_unregister_net_hook(nfh_together.net, nfh_together.ops);
	WRITE_ONCE(nfh_together.through, true);
	complete(&nfh_together.done);
	/* Nobody is in the module any more when kthread_stop() is through. */
	set_current_state(TASK_INTERRUPTIBLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_INTERRUPTIBLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

/* What the first gets of core; the second's answer is in nfh_together.err. */
static int nfh_together_run(struct net *net, const struct nf_hook_ops *first,
			    const struct nf_hook_ops *second, bool registers)
{
	struct task_struct *other;
	unsigned int cpu;
	int err = 0;

	nfh_together.task = current;
	nfh_together.net = net;
	nfh_together.ops = second;
	nfh_together.registers = registers;
	nfh_together.allocates = false;
	nfh_together.calls = false;
	nfh_together.through = false;
	nfh_together.err = 0;
	init_completion(&nfh_together.done);

	/* The caller is on a processor that it stays on. */
	cpus_read_lock();
	cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	other = cpu < nr_cpu_ids ? kthread_create(nfh_together_second, NULL, "nfharness")
				 : ERR_PTR(-EOPNOTSUPP);
	if (!IS_ERR(other)) {
		kthread_bind(other, cpu);
		wake_up_process(other);
	}
	cpus_read_unlock();
	if (IS_ERR(other))
		return PTR_ERR(other);
	if (registers)
		err = nf_register_net_hook(net, first);
	else
		nf_unregister_net_hook(net, first);
	WRITE_ONCE(nfh_together.allocates, true);
	wait_for_completion(&nfh_together.done);
	kthread_stop(other);
	return err;
}

static int nfh_together_probed(struct net *net, const struct nf_hook_ops *first,
			       const struct nf_hook_ops *second, bool registers,
			       struct netlink_ext_ack *extack)
{
	int err;

	err = nfh_probe_allocator(&nfh_together.probe, nfh_together_entry, nfh_together_return);
	if (err) {
		NL_SET_ERR_MSG(extack, "no kretprobe can be put on the kernel's allocator");
		return -EOPNOTSUPP;
	}
	err = nfh_together_run(net, first, second, registers);
	unregister_kretprobe(&nfh_together.probe);
	return err;
}

static int nfh_together_register(struct net *net, struct nfh_hook *hooks[2],
				 struct netlink_ext_ack *extack)
{
	struct nfh_net *nn = nfh_net(net);
	u32 i;
	int err;

	for (i = 0; i < 2; i++) {
		if (nfh_hook_find(nn, hooks[i]->id)) {
			NL_SET_ERR_MSG(extack, "the namespace has a hook with this ID already");
			return -EEXIST;
		}
		if (!nfh_point_has_device(&hooks[i]->point))
			continue;
		hooks[i]->ops->dev = __dev_get_by_index(net, hooks[i]->point.ifindex);
		if (!hooks[i]->ops->dev) {
			NL_SET_ERR_MSG(extack, "the namespace has no device of that IFINDEX");
			return -ENODEV;
		}
	}
	err = nfh_together_probed(net, hooks[0]->ops, hooks[1]->ops, true, extack);
	if (!err) {
		nfh_hook_list(nn, hooks[0]);
		hooks[0] = NULL;
	}
	if (!nfh_together.err && READ_ONCE(nfh_together.through)) {
		nfh_hook_list(nn, hooks[1]);
		hooks[1] = NULL;
	}
	return err ? err : nfh_together.err;
}

static int nfh_together_add(struct net *net, const struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *tb[NFHARNESS_A_TIMES + 1];
	struct nfh_hook *hooks[2] = {};
	struct nlattr *attr;
	int rem, err = 0;
	u32 count = 0;

	nla_for_each_nested(attr, info->attrs[NFHARNESS_A_HOOKS], rem) {
		err = count == 2 ? -E2BIG
				 : nla_parse_nested(tb, NFHARNESS_A_TIMES, attr, nfh_hook_policy,
						    info->extack);
		if (err)
			goto out;
		hooks[count] = nfh_hook_parse(skb, tb, info->extack);
		if (IS_ERR(hooks[count])) {
			err = PTR_ERR(hooks[count]);
			hooks[count] = NULL;
			goto out;
		}
		count++;
	}
	if (count != 2 || hooks[0]->id == hooks[1]->id) {
		NL_SET_ERR_MSG(info->extack, "it takes two hooks");
		err = -EINVAL;
		goto out;
	}
	rtnl_lock();
	mutex_lock(&nfh_net(net)->lock);
	nfh_together.through = false;
	err = nfh_together_register(net, hooks, info->extack);
	mutex_unlock(&nfh_net(net)->lock);
	rtnl_unlock();
out:
	for (count = 0; count < 2; count++)
		if (hooks[count])
			kfree_rcu(hooks[count], rcu);
	return err;
}

static int nfh_together_del(struct net *net, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(net);
	struct nfh_hook *first, *second;
	int err;

	mutex_lock(&nn->lock);
	first = nfh_hook_of_request(nn, info);
	second = info->attrs[NFHARNESS_A_OTHER]
			 ? nfh_hook_find(nn, nla_get_u64(info->attrs[NFHARNESS_A_OTHER]))
			 : NULL;
	if (IS_ERR(first)) {
		err = PTR_ERR(first);
	} else if (!second || first == second || first->registrations > 1 ||
		   second->registrations > 1 || first->tampering || second->tampering) {
		NL_SET_ERR_MSG(info->extack,
			       "it takes two hooks, registered once and not tampered with");
		err = -EINVAL;
	} else {
		err = nfh_together_probed(net, first->ops, second->ops, false, info->extack);
	}
	if (!err) {
		nfh_hook_forget(nn, first);
		nfh_hook_forget(nn, second);
	}
	mutex_unlock(&nn->lock);
	return err;
}

int nfh_together_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	mutex_lock(&nfh_together.lock);
	err = info->attrs[NFHARNESS_A_HOOKS] ? nfh_together_add(net, skb, info)
					     : nfh_together_del(net, info);
	mutex_unlock(&nfh_together.lock);
	return err;
}
