// SPDX-License-Identifier: GPL-2.0-only
/* Hooks: their function, and how they come and go. */
#include <linux/errno.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <net/netlink.h>

#include "internal.h"

const struct nla_policy nfh_hook_policy[NFHARNESS_A_TIMES + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_PF] = { .type = NLA_U8 },
	[NFHARNESS_A_HOOKNUM] = { .type = NLA_U32 },
	[NFHARNESS_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[NFHARNESS_A_PRIORITY] = { .type = NLA_S32 },
	[NFHARNESS_A_VERDICT] = { .type = NLA_U32 },
	[NFHARNESS_A_ERRNO] = NLA_POLICY_RANGE(NLA_U32, 1, MAX_ERRNO),
	[NFHARNESS_A_QUEUE_NUM] = { .type = NLA_U16 },
	[NFHARNESS_A_QUEUE_BYPASS] = { .type = NLA_FLAG },
	[NFHARNESS_A_COOKIE] = { .type = NLA_U64 },
	[NFHARNESS_A_UNCHECKED] = { .type = NLA_FLAG },
	[NFHARNESS_A_DEVICE_NETNS] = { .type = NLA_S32 },
	[NFHARNESS_A_REINJECT_VERDICT] = { .type = NLA_U32 },
	[NFHARNESS_A_TIMES] = NLA_POLICY_RANGE(NLA_U32, 1, 64),
};

/* A packet that carries a cookie ends with these two, in either order: a long
 * payload repeats them, and fragments are cut at multiples of eight bytes.
 */
static bool nfh_skb_has_cookie(const struct sk_buff *skb, u64 cookie)
{
	__be64 end[2], magic;

	BUILD_BUG_ON(sizeof(magic) != NFHARNESS_COOKIE_MAGIC_LEN);
	if (skb->len < sizeof(end) || skb_copy_bits(skb, skb->len - sizeof(end), end, sizeof(end)))
		return false;
	memcpy(&magic, NFHARNESS_COOKIE_MAGIC, sizeof(magic));
	return (end[0] == magic && end[1] == cpu_to_be64(cookie)) ||
	       (end[1] == magic && end[0] == cpu_to_be64(cookie));
}

static bool nfh_state_is(const struct nf_hook_state *state, const struct nf_hook_state *given)
{
	return state->hook == given->hook && state->pf == given->pf && state->in == given->in &&
	       state->out == given->out && state->sk == given->sk && state->net == given->net &&
	       state->okfn == given->okfn;
}

/**
 * nfh_hook_called - note a call in the run over the private array that the hook is in
 *
 * @hook: whose @array says which run there is; what core hands over is compared
 *	with that, and never trusted
 * @skb: with which it is called
 * @state: that of the run, or nobody has put the hook here
 * @verdict: what it returns
 *
 * Return: @verdict.
 */
static unsigned int nfh_hook_called(struct nfh_hook *hook, const struct sk_buff *skb,
				    const struct nf_hook_state *state, u32 verdict)
{
	struct nfh_run *run = READ_ONCE(hook->array->run);

	if (WARN_ON_ONCE(!run || state != &run->state))
		return NF_ACCEPT;
	if (run->count < run->room)
		run->called[run->count] = (struct nfh_call){ hook->id, skb, verdict, skb->next };
	run->count++;
	run->altered += !nfh_state_is(state, &run->given);
	return verdict;
}

/* Every hook of the module has this one function, not inlined and under this
 * very name: that is how a tracer tells them, and then reads struct nfh_hook.
 */
noinline unsigned int nfharness_hook(void *priv, struct sk_buff *skb,
				     const struct nf_hook_state *state)
{
	struct nfh_hook *hook = priv;
	u32 verdict;
	bool meant;

	atomic64_inc(&hook->calls);
	meant = !hook->has_cookie || nfh_skb_has_cookie(skb, hook->cookie);
	if (hook->array)
		return nfh_hook_called(hook, skb, state, meant ? hook->verdict : NF_ACCEPT);
	if (!meant)
		return NF_ACCEPT;
	atomic64_inc(&hook->matches);
	if (unlikely(READ_ONCE(hook->tampering)) && nfh_tamper_packet(hook, skb, state))
		return NF_STOLEN;
	verdict = nfh_hook_verdict(hook, skb, state);
	if ((verdict & NF_VERDICT_MASK) == NF_STOLEN)
		consume_skb(skb);
	return verdict;
}

/* A hook point that there is not makes core warn, and on older kernels so does a
 * packet that comes back from a queue to an array that has shrunk meanwhile.
 */
static bool nfh_hook_may_warn(struct nlattr **tb)
{
	return tb[NFHARNESS_A_UNCHECKED] || tb[NFHARNESS_A_REINJECT_VERDICT] ||
	       (tb[NFHARNESS_A_VERDICT] && nla_get_u32(tb[NFHARNESS_A_VERDICT]) == NF_QUEUE);
}

static int nfh_hook_parse_attrs(struct nlattr **tb, struct nfh_hook *hook,
				struct netlink_ext_ack *extack)
{
	int err;

	if (!tb[NFHARNESS_A_ID]) {
		NL_SET_ERR_MSG(extack, "attribute ID is missing");
		return -EINVAL;
	}
	if (!tb[NFHARNESS_A_PRIORITY]) {
		NL_SET_ERR_MSG(extack, "attribute PRIORITY is missing");
		return -EINVAL;
	}
	hook->id = nla_get_u64(tb[NFHARNESS_A_ID]);
	if (tb[NFHARNESS_A_COOKIE]) {
		hook->has_cookie = true;
		hook->cookie = nla_get_u64(tb[NFHARNESS_A_COOKIE]);
	}
	err = nfh_point_parse(tb, &hook->point, extack);
	if (err)
		return err;
	err = nfh_verdict_parse(tb, hook, extack);
	if (err)
		return err;

	hook->ops = &hook->own_ops;
	hook->ops->hook = nfharness_hook;
	hook->ops->priv = hook;
	hook->ops->pf = hook->point.pf;
	hook->ops->hooknum = hook->point.hooknum;
	hook->priority = nla_get_s32(tb[NFHARNESS_A_PRIORITY]);
	hook->ops->priority = hook->priority;
	return 0;
}

/**
 * nfh_hook_parse - make a hook of a request's attributes, not yet registered
 *
 * @skb: the request
 * @tb: attributes that have passed the policy
 * @extack: why it was refused
 *
 * Return: the caller's to nfh_hook_add() or kfree(), or an ERR_PTR().
 */
struct nfh_hook *nfh_hook_parse(const struct sk_buff *skb, struct nlattr **tb,
				struct netlink_ext_ack *extack)
{
	struct nfh_hook *hook;
	int err;

	err = nfh_hook_may_warn(tb) ? nfh_needs_root(skb, extack) : 0;
	if (err)
		return ERR_PTR(err);
	hook = kzalloc(sizeof(*hook), GFP_KERNEL_ACCOUNT);
	if (!hook)
		return ERR_PTR(-ENOMEM);
	err = nfh_hook_parse_attrs(tb, hook, extack);
	if (err) {
		kfree(hook);
		return ERR_PTR(err);
	}
	return hook;
}

/* 0 is what a dump takes for "not looked yet", see nl_dump_check_consistent(). */
static void nfh_net_changed(struct nfh_net *nn)
{
	if (!++nn->generation)
		nn->generation = 1;
}

/* Take note of a hook that core has registered. */
void nfh_hook_list(struct nfh_net *nn, struct nfh_hook *hook)
{
	hook->registrations = 1;
	list_add_tail(&hook->node, &nn->hooks);
	nfh_net_changed(nn);
}

/* Free a hook that core has unregistered, when nobody is in it any more. */
void nfh_hook_forget(struct nfh_net *nn, struct nfh_hook *hook)
{
	list_del(&hook->node);
	nfh_net_changed(nn);
	if (hook->batch && !--hook->batch->left)
		kfree_rcu(hook->batch, rcu);
	kfree_rcu(hook, rcu);
}

static int nfh_hook_register(struct net *net, struct nfh_hook *hook, struct netlink_ext_ack *extack)
{
	struct nfh_net *nn = nfh_net(net);
	int err;

	lockdep_assert_held(&nn->lock);
	if (nfh_hook_find(nn, hook->id)) {
		NL_SET_ERR_MSG(extack, "the namespace has a hook with this ID already");
		return -EEXIST;
	}
	nfh_fault_begin(nn);
	err = nf_register_net_hook(net, hook->ops);
	nfh_fault_end(nn);
	switch (err) {
	case 0:
		nfh_hook_list(nn, hook);
		break;
	case -E2BIG:
		NL_SET_ERR_MSG(extack, "nf_register_net_hook: the hook point is full");
		break;
	case -ENOMEM:
		NL_SET_ERR_MSG(extack, "nf_register_net_hook: no memory for the larger array");
		break;
	default:
		NL_SET_ERR_MSG(extack, "nf_register_net_hook refused the hook");
		break;
	}
	return err;
}

/**
 * nfh_hook_add - register a hook
 *
 * @net: namespace
 * @hook: the namespace's from now on, unless an error is returned
 * @extack: why it was refused
 *
 * Return: 0, -EEXIST, -ENODEV, or what nf_register_net_hook() answered.
 */
int nfh_hook_add(struct net *net, struct nfh_hook *hook, struct netlink_ext_ack *extack)
{
	struct nfh_net *nn = nfh_net(net);
	int err;

	if (!nfh_point_has_device(&hook->point)) {
		mutex_lock(&nn->lock);
		err = nfh_hook_register(net, hook, extack);
		mutex_unlock(&nn->lock);
		return err;
	}

	/* RTNL, for the device to be here still when the hook is on the list
	 * where nfh_netdev_event() looks.
	 */
	rtnl_lock();
	mutex_lock(&nn->lock);
	hook->ops->dev = __dev_get_by_index(net, hook->point.ifindex);
	if (hook->ops->dev || !hook->point.ifindex) {
		err = nfh_hook_register(net, hook, extack);
	} else {
		NL_SET_ERR_MSG(extack, "the namespace has no device of that IFINDEX");
		err = -ENODEV;
	}
	mutex_unlock(&nn->lock);
	rtnl_unlock();
	return err;
}

/* Take one registration. Callers hold the namespace's lock. */
void nfh_hook_del(struct net *net, struct nfh_hook *hook)
{
	struct nfh_net *nn = nfh_net(net);

	lockdep_assert_held(&nn->lock);
	if (!nfh_tamper_undo(nn, hook)) {
		nfh_fault_begin(nn);
		nf_unregister_net_hook(net, hook->ops);
		nfh_fault_end(nn);
	}
	if (!--hook->registrations)
		nfh_hook_forget(nn, hook);
}

static void nfh_hook_del_all(struct net *net, struct nfh_hook *hook)
{
	u32 left = hook->registrations;

	while (left--)
		nfh_hook_del(net, hook);
}

int nfh_hook_again_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct nfh_net *nn = nfh_net(net);
	struct nfh_hook *hook;
	int err;

	mutex_lock(&nn->lock);
	hook = nfh_hook_of_request(nn, info);
	err = PTR_ERR_OR_ZERO(hook);
	if (!err) {
		nfh_fault_begin(nn);
		err = nf_register_net_hook(net, hook->ops);
		nfh_fault_end(nn);
	}
	if (!err)
		hook->registrations++;
	mutex_unlock(&nn->lock);
	return err;
}

int nfh_hook_del_absent_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nf_hook_ops ops = { .hook = nfharness_hook };
	struct net *net = genl_info_net(info);
	struct nfh_net *nn = nfh_net(net);
	struct nfh_point point;
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (!err)
		err = nfh_point_parse(info->attrs, &point, info->extack);
	if (err)
		return err;
	ops.pf = point.pf;
	ops.hooknum = point.hooknum;
	rtnl_lock();
	if (point.ifindex)
		ops.dev = nfh_point_device(net, &point);
	if (point.ifindex && !ops.dev) {
		NL_SET_ERR_MSG(info->extack, "the namespace has no device of that IFINDEX");
		err = -ENODEV;
	} else {
		mutex_lock(&nn->lock);
		nfh_fault_begin(nn);
		nf_unregister_net_hook(net, &ops);
		nfh_fault_end(nn);
		mutex_unlock(&nn->lock);
	}
	rtnl_unlock();
	return err;
}

/* Unregister the hooks on @dev, or all of the namespace's if it is NULL. */
void nfh_hook_flush(struct net *net, const struct net_device *dev)
{
	struct nfh_net *nn = nfh_net(net);
	struct nfh_hook *hook, *next;

	mutex_lock(&nn->lock);
	/* Core shall not warn of what was altered. */
	list_for_each_entry(hook, &nn->hooks, node)
		WRITE_ONCE(hook->ops->priority, hook->priority);
	list_for_each_entry_safe(hook, next, &nn->hooks, node)
		if (!dev || hook->ops->dev == dev)
			nfh_hook_del_all(net, hook);
	mutex_unlock(&nn->lock);
}

int nfh_hook_put(struct sk_buff *msg, const struct nfh_hook *hook)
{
	if (nla_put_u64_64bit(msg, NFHARNESS_A_ID, hook->id, NFHARNESS_A_PAD) ||
	    nfh_point_put(msg, &hook->point) ||
	    nla_put_s32(msg, NFHARNESS_A_PRIORITY, hook->ops->priority) ||
	    nfh_verdict_put(msg, hook) ||
	    nla_put_u64_64bit(msg, NFHARNESS_A_CALLS, atomic64_read(&hook->calls),
			      NFHARNESS_A_PAD) ||
	    nla_put_u64_64bit(msg, NFHARNESS_A_MATCHES, atomic64_read(&hook->matches),
			      NFHARNESS_A_PAD))
		return -EMSGSIZE;
	if (hook->has_cookie &&
	    nla_put_u64_64bit(msg, NFHARNESS_A_COOKIE, hook->cookie, NFHARNESS_A_PAD))
		return -EMSGSIZE;
	return 0;
}
