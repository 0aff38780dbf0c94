// SPDX-License-Identifier: GPL-2.0-only
/* What becomes of the arrays that core allocates for hooks of the module's. */
#include <linux/hashtable.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/tracepoint.h>
#include <net/genetlink.h>
#include <trace/events/kmem.h>

#include "internal.h"

#define NFH_MEMORY_ROOM	 4096
#define NFH_MEMORY_LEAKS 64
/* Arrays that one call of core's makes. */
#define NFH_MEMORY_YOUNG 16

/**
 * struct nfh_memory_array - an array that core has allocated and not freed
 *
 * @node: in nfh_memory_table
 * @array: where it is
 * @reached: a hook point or a private array led to it in that round
 * @last: its last hook, when the call that made it was over
 * @ops: the ops of that one
 */
struct nfh_memory_array {
	struct hlist_node node;
	const struct nf_hook_entries *array;
	u32 reached;
	nf_hookfn *last;
	const struct nf_hook_ops *ops;
};

/**
 * struct nfh_memory - the books
 *
 * @armed: they are kept
 * @lock: for one call of core's at a time, while they are
 * @task: who calls core
 * @book: protects the rest, and nfh_memory_table
 * @allocated: arrays that core got
 * @freed: those of them that it has given back
 * @early: those that the call that replaced them gave back itself
 * @overwritten: those whose last ops core had overwritten while readers could come
 * @lost: arrays that there was no room for
 * @round: see &struct nfh_memory_array.reached
 * @spare: entries that no array has
 * @room: all entries
 * @young: arrays that the call under way has made
 * @young_count: so many
 * @allocator: the probe on it
 */
static struct nfh_memory {
	bool armed;
	struct mutex lock;
	struct task_struct *task;
	raw_spinlock_t book;
	u32 allocated;
	u32 freed;
	u32 early;
	u32 overwritten;
	u32 lost;
	u32 round;
	struct hlist_head spare;
	struct nfh_memory_array room[NFH_MEMORY_ROOM];
	const struct nf_hook_entries *young[NFH_MEMORY_YOUNG];
	u32 young_count;
	struct kretprobe allocator;
} nfh_memory = {
	.lock = __MUTEX_INITIALIZER(nfh_memory.lock),
	.book = __RAW_SPIN_LOCK_UNLOCKED(nfh_memory.book),
};

static DEFINE_HASHTABLE(nfh_memory_table, 10);
static DEFINE_MUTEX(nfh_memory_arming);

static bool nfh_memory_is_caller(void)
{
	return current == READ_ONCE(nfh_memory.task) && !in_serving_softirq();
}
NOKPROBE_SYMBOL(nfh_memory_is_caller);

static struct nfh_memory_array *nfh_memory_find(const void *array)
{
	struct nfh_memory_array *one;

	hash_for_each_possible(nfh_memory_table, one, node, (unsigned long)array)
		if (one->array == array)
			return one;
	return NULL;
}
NOKPROBE_SYMBOL(nfh_memory_find);

static int nfh_memory_allocates(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return !nfh_memory_is_caller();
}
NOKPROBE_SYMBOL(nfh_memory_allocates);

static int nfh_memory_allocated(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	const void *array = (const void *)regs_return_value(regs);
	struct nfh_memory_array *one;
	unsigned long flags;

	/* What is not of a slab is not seen to be freed. */
	if (!array || is_vmalloc_addr(array))
		return 0;
	raw_spin_lock_irqsave(&nfh_memory.book, flags);
	nfh_memory.allocated++;
	if (hlist_empty(&nfh_memory.spare)) {
		nfh_memory.lost++;
	} else {
		one = hlist_entry(nfh_memory.spare.first, struct nfh_memory_array, node);
		hlist_del(&one->node);
		one->array = array;
		one->last = NULL;
		if (nfh_memory.young_count < NFH_MEMORY_YOUNG)
			nfh_memory.young[nfh_memory.young_count++] = array;
		hash_add(nfh_memory_table, &one->node, (unsigned long)array);
	}
	raw_spin_unlock_irqrestore(&nfh_memory.book, flags);
	return 0;
}
NOKPROBE_SYMBOL(nfh_memory_allocated);

/* The call that made them is over: what their last slot is. */
static void nfh_memory_grown_up(void)
{
	const struct nf_hook_entries *array;
	struct nfh_memory_array *one;
	unsigned long flags;
	u32 i, last;

	raw_spin_lock_irqsave(&nfh_memory.book, flags);
	for (i = 0; i < nfh_memory.young_count; i++) {
		array = nfh_memory.young[i];
		one = nfh_memory_find(array);
		if (!one || !array->num_hook_entries)
			continue;
		last = array->num_hook_entries - 1;
		one->last = READ_ONCE(array->hooks[last].hook);
		one->ops = READ_ONCE(nf_hook_entries_get_hook_ops(array)[last]);
	}
	nfh_memory.young_count = 0;
	raw_spin_unlock_irqrestore(&nfh_memory.book, flags);
}

/* A hook that became a dummy has other ops. */
static bool nfh_memory_is_overwritten(const struct nfh_memory_array *one)
{
	const struct nf_hook_entries *array = one->array;
	u32 last = array->num_hook_entries - 1;

	return one->last && array->hooks[last].hook == one->last &&
	       nf_hook_entries_get_hook_ops(array)[last] != one->ops;
}
NOKPROBE_SYMBOL(nfh_memory_is_overwritten);

/* A tracepoint, no kprobe: RCU may call while a kprobe is at work, and that one would
 * miss it.
 */
static void nfh_memory_frees(void *unused, unsigned long call_site, const void *array)
{
	struct nfh_memory_array *one;
	unsigned long flags;

	/* Nearly always: everything that is freed comes here. */
	if (hlist_empty(
		    &nfh_memory_table[hash_min((unsigned long)array, HASH_BITS(nfh_memory_table))]))
		return;
	raw_spin_lock_irqsave(&nfh_memory.book, flags);
	one = nfh_memory_find(array);
	if (one) {
		hash_del(&one->node);
		hlist_add_head(&one->node, &nfh_memory.spare);
		nfh_memory.freed++;
		nfh_memory.overwritten += nfh_memory_is_overwritten(one);
		nfh_memory.early += nfh_memory_is_caller();
	}
	raw_spin_unlock_irqrestore(&nfh_memory.book, flags);
}

/* Around a call of core's, as nfh_fault_begin() and nfh_fault_end() are. */
void nfh_memory_begin(void)
{
	if (!READ_ONCE(nfh_memory.armed))
		return;
	mutex_lock(&nfh_memory.lock);
	WRITE_ONCE(nfh_memory.task, current);
}

void nfh_memory_end(void)
{
	if (READ_ONCE(nfh_memory.task) != current)
		return;
	nfh_memory_grown_up();
	WRITE_ONCE(nfh_memory.task, NULL);
	mutex_unlock(&nfh_memory.lock);
}

static int nfh_memory_arm(void)
{
	int err;
	u32 i;

	lockdep_assert_held(&nfh_memory_arming);
	if (nfh_memory.armed)
		return 0;
	for (i = 0; i < NFH_MEMORY_ROOM; i++)
		hlist_add_head(&nfh_memory.room[i].node, &nfh_memory.spare);
	err = register_trace_kfree(nfh_memory_frees, NULL);
	if (!err) {
		err = nfh_probe_allocator(&nfh_memory.allocator, nfh_memory_allocates,
					  nfh_memory_allocated);
		if (err)
			unregister_trace_kfree(nfh_memory_frees, NULL);
	}
	if (err)
		INIT_HLIST_HEAD(&nfh_memory.spare);
	WRITE_ONCE(nfh_memory.armed, !err);
	return err;
}

/* With the module's last hook gone. */
void nfh_memory_disarm(void)
{
	mutex_lock(&nfh_memory_arming);
	if (nfh_memory.armed) {
		unregister_kretprobe(&nfh_memory.allocator);
		unregister_trace_kfree(nfh_memory_frees, NULL);
		tracepoint_synchronize_unregister();
		WRITE_ONCE(nfh_memory.armed, false);
	}
	mutex_unlock(&nfh_memory_arming);
}

static void nfh_memory_reach(struct nf_hook_entries __rcu **head)
{
	struct nfh_memory_array *one;
	unsigned long flags;

	if (!head)
		return;
	raw_spin_lock_irqsave(&nfh_memory.book, flags);
	one = nfh_memory_find(rcu_access_pointer(*head));
	if (one)
		one->reached = nfh_memory.round;
	raw_spin_unlock_irqrestore(&nfh_memory.book, flags);
}

static void nfh_memory_reach_family(struct net *net, struct net_device *dev, u8 pf)
{
	struct nfh_point point = { .pf = pf, .ifindex = dev ? dev->ifindex : 0 };

	for (point.hooknum = 0; point.hooknum < nfh_point_limit(pf); point.hooknum++)
		nfh_memory_reach(nfh_point_head(net, dev, &point));
}

static void nfh_memory_reach_net(struct nfh_net *nn)
{
	static const u8 families[] = { NFPROTO_IPV4, NFPROTO_ARP, NFPROTO_BRIDGE, NFPROTO_IPV6 };
	struct nfh_array *array;
	struct net_device *dev;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(families); i++)
		nfh_memory_reach_family(nn->net, NULL, families[i]);
	rcu_read_lock();
	for_each_netdev_rcu(nn->net, dev)
		nfh_memory_reach_family(nn->net, dev, NFPROTO_NETDEV);
	rcu_read_unlock();
	mutex_lock(&nn->lock);
	list_for_each_entry(array, &nn->arrays, node)
		nfh_memory_reach(&array->head);
	mutex_unlock(&nn->lock);
}

/* Core has written into the array's end what RCU is to call. */
static bool nfh_memory_handed(const struct nf_hook_entries *array)
{
	const struct nf_hook_entries_rcu_head *end =
		(const void *)&nf_hook_entries_get_hook_ops(array)[array->num_hook_entries];

	return READ_ONCE(end->head.func);
}

/**
 * nfh_memory_leaks - arrays that neither a point, nor a private array, nor RCU has
 *
 * @leaks: the number of slots of the first NFH_MEMORY_LEAKS of them
 * @waiting: those that RCU has
 *
 * Return: how many of @leaks there are.
 */
static u32 nfh_memory_leaks(u32 *leaks, u32 *waiting)
{
	struct nfh_memory_array *one;
	struct nfh_net *nn;
	unsigned long flags;
	u32 count = 0;
	int bucket;

	nfh_memory.round++;
	mutex_lock(&nfh_nets_lock);
	list_for_each_entry(nn, &nfh_nets, node)
		nfh_memory_reach_net(nn);
	mutex_unlock(&nfh_nets_lock);
	*waiting = 0;
	raw_spin_lock_irqsave(&nfh_memory.book, flags);
	hash_for_each(nfh_memory_table, bucket, one, node) {
		if (one->reached == nfh_memory.round)
			continue;
		if (nfh_memory_handed(one->array))
			++*waiting;
		else if (count < NFH_MEMORY_LEAKS)
			leaks[count++] = one->array->num_hook_entries;
	}
	raw_spin_unlock_irqrestore(&nfh_memory.book, flags);
	return count;
}

int nfh_memory_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	u32 leaks[NFH_MEMORY_LEAKS], books[6], count;
	struct sk_buff *msg;
	void *hdr;
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	mutex_lock(&nfh_memory_arming);
	err = nfh_memory_arm();
	if (err) {
		mutex_unlock(&nfh_memory_arming);
		NL_SET_ERR_MSG(info->extack, "no probes can be put on the kernel's allocator");
		return -EOPNOTSUPP;
	}
	if (info->attrs[NFHARNESS_A_SETTLE])
		rcu_barrier();
	count = nfh_memory_leaks(leaks, &books[3]);
	books[0] = nfh_memory.allocated;
	books[1] = nfh_memory.freed;
	books[2] = nfh_memory.early;
	books[4] = nfh_memory.lost;
	books[5] = nfh_memory.overwritten;
	mutex_unlock(&nfh_memory_arming);

	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_MEMORY_GET);
	if (!hdr || nla_put(msg, NFHARNESS_A_MEMORY, sizeof(books), books) ||
	    nla_put(msg, NFHARNESS_A_LEAKED, count * sizeof(u32), leaks)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}
