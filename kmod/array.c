// SPDX-License-Identifier: GPL-2.0-only
/* Private arrays: core's raw functions, and nf_hook_slow() where no packet comes. */
#include <linux/bottom_half.h>
#include <linux/in.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/netlink.h>

#include "internal.h"

const struct nla_policy nfh_raw_insert_policy[NFHARNESS_A_RAW_VERDICT + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_PRIORITY] = { .type = NLA_S32 },
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
	[NFHARNESS_A_RAW_VERDICT] = { .type = NLA_U32 },
};

const struct nla_policy nfh_raw_delete_policy[NFHARNESS_A_ARRAY + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
};

const struct nla_policy nfh_raw_alter_policy[NFHARNESS_A_PRIORITY + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_PRIORITY] = { .type = NLA_S32 },
};

const struct nla_policy nfh_raw_run_policy[NFHARNESS_A_START + 1] = {
	[NFHARNESS_A_COOKIE] = { .type = NLA_U64 },
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
	[NFHARNESS_A_START] = { .type = NLA_U32 },
};

struct nfh_array *nfh_array_find(struct nfh_net *nn, u32 number)
{
	struct nfh_array *array;

	lockdep_assert_held(&nn->lock);
	list_for_each_entry(array, &nn->arrays, node)
		if (array->number == number)
			return array;
	return NULL;
}

static struct nfh_array *nfh_array_of_request(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_array *array;

	if (!info->attrs[NFHARNESS_A_ARRAY]) {
		NL_SET_ERR_MSG(info->extack, "attribute ARRAY is missing");
		return ERR_PTR(-EINVAL);
	}
	array = nfh_array_find(nn, nla_get_u32(info->attrs[NFHARNESS_A_ARRAY]));
	if (!array) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[NFHARNESS_A_ARRAY],
				    "the private array is empty: core would dereference NULL");
		return ERR_PTR(-ENOENT);
	}
	return array;
}

static struct nfh_hook *nfh_array_find_hook(struct nfh_net *nn, u64 id)
{
	struct nfh_array *array;
	struct nfh_hook *hook;

	list_for_each_entry(array, &nn->arrays, node)
		list_for_each_entry(hook, &array->hooks, node)
			if (hook->id == id)
				return hook;
	return NULL;
}

static void nfh_array_free_if_empty(struct nfh_array *array)
{
	if (!list_empty(&array->hooks))
		return;
	WARN_ON_ONCE(rcu_access_pointer(array->head));
	list_del(&array->node);
	kfree(array);
}

static void nfh_array_delete(struct nfh_net *nn, struct nfh_hook *hook)
{
	nfh_fault_begin(nn);
	nf_hook_entries_delete_raw(&hook->array->head, hook->ops);
	nfh_fault_end(nn);
	list_del(&hook->node);
	nfh_array_free_if_empty(hook->array);
	kfree_rcu(hook, rcu);
}

void nfh_array_flush(struct nfh_net *nn)
{
	struct nfh_array *array, *next_array;
	struct nfh_hook *hook, *next;

	mutex_lock(&nn->lock);
	list_for_each_entry_safe(array, next_array, &nn->arrays, node) {
		/* Core shall not warn of what was altered. */
		list_for_each_entry(hook, &array->hooks, node)
			WRITE_ONCE(hook->ops->priority, 0);
		/* The last one takes the array along. */
		list_for_each_entry_safe(hook, next, &array->hooks, node) {
			bool last = list_is_singular(&array->hooks);

			nfh_array_delete(nn, hook);
			if (last)
				break;
		}
	}
	mutex_unlock(&nn->lock);
}

static int nfh_array_insert(struct nfh_net *nn, struct nfh_hook *hook, u32 number,
			    struct netlink_ext_ack *extack)
{
	struct nfh_array *array;
	int err;

	lockdep_assert_held(&nn->lock);
	if (nfh_hook_find(nn, hook->id) || nfh_array_find_hook(nn, hook->id)) {
		NL_SET_ERR_MSG(extack, "the namespace has a hook with this ID already");
		return -EEXIST;
	}
	array = nfh_array_find(nn, number);
	if (!array) {
		array = kzalloc(sizeof(*array), GFP_KERNEL_ACCOUNT);
		if (!array)
			return -ENOMEM;
		array->number = number;
		INIT_LIST_HEAD(&array->hooks);
		list_add_tail(&array->node, &nn->arrays);
	}
	hook->array = array;
	nfh_fault_begin(nn);
	err = nf_hook_entries_insert_raw(&array->head, hook->ops);
	nfh_fault_end(nn);
	if (err) {
		NL_SET_ERR_MSG(extack, "nf_hook_entries_insert_raw refused the hook");
		nfh_array_free_if_empty(array);
		return err;
	}
	list_add_tail(&hook->node, &array->hooks);
	return 0;
}

int nfh_raw_insert_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	struct nlattr **tb = info->attrs;
	struct nfh_hook *hook;
	int err;

	if (!tb[NFHARNESS_A_ID] || !tb[NFHARNESS_A_ARRAY] || !tb[NFHARNESS_A_PRIORITY] ||
	    !tb[NFHARNESS_A_RAW_VERDICT]) {
		NL_SET_ERR_MSG(info->extack, "needs ID, ARRAY, PRIORITY and RAW_VERDICT");
		return -EINVAL;
	}
	hook = kzalloc(sizeof(*hook), GFP_KERNEL_ACCOUNT);
	if (!hook)
		return -ENOMEM;
	hook->id = nla_get_u64(tb[NFHARNESS_A_ID]);
	hook->verdict = nla_get_u32(tb[NFHARNESS_A_RAW_VERDICT]);
	hook->ops = &hook->own_ops;
	hook->ops->hook = nfharness_hook;
	hook->ops->priv = hook;
	hook->ops->pf = NFPROTO_IPV4;
	hook->ops->hooknum = NF_INET_LOCAL_IN;
	hook->ops->priority = nla_get_s32(tb[NFHARNESS_A_PRIORITY]);

	mutex_lock(&nn->lock);
	err = nfh_array_insert(nn, hook, nla_get_u32(tb[NFHARNESS_A_ARRAY]), info->extack);
	mutex_unlock(&nn->lock);
	if (err)
		kfree(hook);
	return err;
}

static struct nfh_hook *nfh_raw_hook_of_request(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_hook *hook;

	if (!info->attrs[NFHARNESS_A_ID]) {
		NL_SET_ERR_MSG(info->extack, "attribute ID is missing");
		return ERR_PTR(-EINVAL);
	}
	hook = nfh_array_find_hook(nn, nla_get_u64(info->attrs[NFHARNESS_A_ID]));
	if (!hook) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[NFHARNESS_A_ID],
				    "no private array of the namespace has a hook with this ID");
		return ERR_PTR(-ENOENT);
	}
	return hook;
}

static int nfh_raw_delete(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_array *array;
	struct nfh_hook *hook;

	hook = nfh_raw_hook_of_request(nn, info);
	if (IS_ERR(hook))
		return PTR_ERR(hook);
	if (!info->attrs[NFHARNESS_A_ARRAY]) {
		nfh_array_delete(nn, hook);
		return 0;
	}
	array = nfh_array_of_request(nn, info);
	if (IS_ERR(array))
		return PTR_ERR(array);
	if (array == hook->array)
		nfh_array_delete(nn, hook);
	else
		nf_hook_entries_delete_raw(&array->head, hook->ops);
	return 0;
}

int nfh_raw_delete_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	int err;

	mutex_lock(&nn->lock);
	err = nfh_raw_delete(nn, info);
	mutex_unlock(&nn->lock);
	return err;
}

/* Nobody but core, under the lock, and a dump look at the priority: no packet does. */
int nfh_raw_alter_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	struct nfh_hook *hook;

	if (!info->attrs[NFHARNESS_A_PRIORITY]) {
		NL_SET_ERR_MSG(info->extack, "attribute PRIORITY is missing");
		return -EINVAL;
	}
	mutex_lock(&nn->lock);
	hook = nfh_raw_hook_of_request(nn, info);
	if (!IS_ERR(hook))
		WRITE_ONCE(hook->ops->priority, nla_get_s32(info->attrs[NFHARNESS_A_PRIORITY]));
	mutex_unlock(&nn->lock);
	return PTR_ERR_OR_ZERO(hook);
}

static int nfh_run_okfn(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	consume_skb(skb);
	return 0;
}

/* An unregistration makes core throw away what the namespace has queued, see
 * nf_queue_nf_hook_drop().
 */
static void nfh_run_unqueue(struct net *net, struct nfh_hook *hook)
{
	struct nf_hook_ops ops = *hook->ops;

	if (!nf_register_net_hook(net, &ops)) {
		nf_unregister_net_hook(net, &ops);
		synchronize_net();
	}
}

/**
 * nfh_array_run - nf_hook_slow() over a private array
 *
 * A second reference keeps the skb from being freed under the eyes of who
 * counts them. Nobody else has one when this returns.
 *
 * @net: namespace
 * @array: private array
 * @start: slot to start with
 * @run: with @skb; the rest is filled in
 * @extack: why the result is none
 *
 * Return: 0, or -EBUSY if somebody listens to the queue of an NF_QUEUE.
 */
static int nfh_array_run(struct net *net, struct nfh_array *array, u32 start, struct nfh_run *run,
			 struct netlink_ext_ack *extack)
{
	int err = 0;

	run->state.hook = NF_INET_LOCAL_IN;
	run->state.pf = NFPROTO_IPV4;
	run->state.in = net->loopback_dev;
	run->state.net = net;
	run->state.okfn = nfh_run_okfn;

	skb_get(run->skb);
	local_bh_disable();
	rcu_read_lock();
	run->ret = nf_hook_slow(run->skb, &run->state, rcu_dereference(array->head), start);
	rcu_read_unlock();
	local_bh_enable();

	run->users = refcount_read(&run->skb->users);
	if (!run->ret && run->users > 1 && (run->verdict & NF_VERDICT_MASK) == NF_QUEUE) {
		NL_SET_ERR_MSG(extack, "a listener took the packet: choose a queue without one");
		nfh_run_unqueue(net, list_first_entry(&array->hooks, struct nfh_hook, node));
		run->users = 1;
		err = -EBUSY;
	}
	if (run->users > 1)
		consume_skb(run->skb);
	consume_skb(run->skb);
	return err;
}

static int nfh_run_reply(struct genl_info *info, const struct nfh_run *run)
{
	struct sk_buff *msg;
	void *hdr;

	msg = genlmsg_new(nla_total_size(run->count * sizeof(u64)) +
				  2 * nla_total_size(sizeof(u32)),
			  GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_RAW_RUN);
	if (!hdr || nla_put_s32(msg, NFHARNESS_A_RETURN, run->ret) ||
	    nla_put_u32(msg, NFHARNESS_A_USERS, run->users) ||
	    nla_put(msg, NFHARNESS_A_CALLED, run->count * sizeof(u64), run->called)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static struct nfh_run *nfh_run_alloc(struct net *net, struct nfh_array *array, u64 cookie)
{
	const struct nfh_flow flow = {
		.saddr = htonl(INADDR_LOOPBACK),
		.daddr = htonl(INADDR_LOOPBACK),
		.sport = htons(9),
		.dport = htons(9),
	};
	const struct nf_hook_entries *e = rcu_dereference_protected(array->head, true);
	struct nfh_run *run;

	run = kvzalloc(struct_size(run, called, e->num_hook_entries), GFP_KERNEL_ACCOUNT);
	if (!run)
		return NULL;
	run->skb = nfh_datagram(net, &flow, cookie);
	if (!run->skb) {
		kvfree(run);
		return NULL;
	}
	return run;
}

int nfh_raw_run_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr **tb = info->attrs;
	struct net *net = genl_info_net(info);
	struct nfh_net *nn = nfh_net(net);
	struct nfh_array *array;
	struct nfh_run *run;
	int err = -ENOMEM;
	u64 cookie;
	u32 start;

	cookie = tb[NFHARNESS_A_COOKIE] ? nla_get_u64(tb[NFHARNESS_A_COOKIE]) : 0;
	start = tb[NFHARNESS_A_START] ? nla_get_u32(tb[NFHARNESS_A_START]) : 0;

	mutex_lock(&nn->lock);
	array = nfh_array_of_request(nn, info);
	if (IS_ERR(array)) {
		mutex_unlock(&nn->lock);
		return PTR_ERR(array);
	}
	run = nfh_run_alloc(net, array, cookie);
	if (run)
		err = nfh_array_run(net, array, start, run, info->extack);
	mutex_unlock(&nn->lock);
	if (!err)
		err = nfh_run_reply(info, run);
	kvfree(run);
	return err;
}
