// SPDX-License-Identifier: GPL-2.0-only
/* nf_hook_slow() over a private array. */
#include <linux/bottom_half.h>
#include <linux/in.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <net/dst.h>
#include <net/genetlink.h>
#include <net/netlink.h>

#include "internal.h"

const struct nla_policy nfh_raw_run_policy[NFHARNESS_A_START + 1] = {
	[NFHARNESS_A_COOKIE] = { .type = NLA_U64 },
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
	[NFHARNESS_A_START] = { .type = NLA_U32 },
};

const struct nfh_flow nfh_run_flow = {
	.saddr = htonl(INADDR_LOOPBACK),
	.daddr = htonl(INADDR_LOOPBACK),
	.sport = htons(9),
	.dport = htons(9),
};

/* Stands at a live hook point for a moment, and looks at nothing. */
static unsigned int nfh_accept(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return NF_ACCEPT;
}

/* An unregistration makes core throw away what the namespace has queued, see
 * nf_queue_nf_hook_drop().
 */
void nfh_run_unqueue(struct net *net)
{
	struct nf_hook_ops ops = {
		.hook = nfh_accept,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_IN,
	};

	if (!nf_register_net_hook(net, &ops)) {
		nf_unregister_net_hook(net, &ops);
		synchronize_net();
	}
}

/**
 * nfh_array_run - nf_hook_slow() over a private array
 *
 * Two more references keep the skb from being freed under the eyes of who
 * counts them, even if core frees it twice. A listener that takes the packet may have let it go on already:
 * its okfn outlives the module.
 *
 * @net: namespace
 * @array: private array
 * @start: slot to start with
 * @run: with @skb; the rest is filled in
 * @extack: why the result is none
 *
 * Return: 0, or -EBUSY if the queue of an NF_QUEUE has a listener.
 */
static int nfh_array_run(struct net *net, struct nfh_array *array, u32 start, struct nfh_run *run,
			 struct netlink_ext_ack *extack)
{
	int err = 0;
	u32 left;

	skb_get(run->skb);
	skb_get(run->skb);
	WRITE_ONCE(array->run, run);
	local_bh_disable();
	rcu_read_lock();
	run->ret = nf_hook_slow(run->skb, &run->state, rcu_dereference(array->head), start);
	rcu_read_unlock();
	local_bh_enable();
	WRITE_ONCE(array->run, NULL);

	run->users = refcount_read(&run->skb->users) - 1;
	if (!run->ret && run->users > 1 &&
	    (nfh_run_verdict(run, run->skb) & NF_VERDICT_MASK) == NF_QUEUE) {
		NL_SET_ERR_MSG(extack, "a listener took the packet: choose a queue without one");
		nfh_run_unqueue(net);
		run->users = 1;
		err = -EBUSY;
	}
	for (left = run->users + 1; left; left--)
		consume_skb(run->skb);
	return err;
}

static int nfh_run_put(struct sk_buff *msg, const struct nfh_run *run)
{
	struct nlattr *called;
	u32 i;

	if (nla_put_s32(msg, NFHARNESS_A_RETURN, run->ret) ||
	    nla_put_u32(msg, NFHARNESS_A_USERS, run->users) ||
	    nla_put_u32(msg, NFHARNESS_A_ALTERED, run->altered))
		return -EMSGSIZE;
	called = nla_reserve(msg, NFHARNESS_A_CALLED, min(run->count, run->room) * sizeof(u64));
	if (!called)
		return -EMSGSIZE;
	for (i = 0; i < min(run->count, run->room); i++)
		memcpy(nla_data(called) + i * sizeof(u64), &run->called[i].id, sizeof(u64));
	return 0;
}

static int nfh_run_reply(struct genl_info *info, const struct nfh_run *run)
{
	struct sk_buff *msg;
	void *hdr;

	msg = genlmsg_new(nla_total_size(run->room * sizeof(u64)) + 3 * nla_total_size(sizeof(u32)),
			  GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_RAW_RUN);
	if (!hdr || nfh_run_put(msg, run)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

/**
 * nfh_run_alloc - make ready for a run
 *
 * @net: namespace
 * @array: private array
 * @packets: so many will cross it
 *
 * Return: the caller's to kvfree(), or NULL without memory.
 */
struct nfh_run *nfh_run_alloc(struct net *net, struct nfh_array *array, u32 packets)
{
	const struct nf_hook_entries *e = rcu_dereference_protected(array->head, true);
	u32 room = e->num_hook_entries * packets;
	struct nfh_run *run;

	run = kvzalloc(struct_size(run, called, room), GFP_KERNEL_ACCOUNT);
	if (!run)
		return NULL;
	run->room = room;
	run->state.hook = NF_INET_LOCAL_IN;
	run->state.pf = NFPROTO_IPV4;
	run->state.in = net->loopback_dev;
	run->state.out = net->loopback_dev;
	run->state.sk = net->genl_sock;
	run->state.net = net;
	run->state.okfn = dst_discard_out;
	run->given = run->state;
	return run;
}

/* What a packet's last hook returned. */
u32 nfh_run_verdict(const struct nfh_run *run, const struct sk_buff *skb)
{
	u32 i;

	for (i = min(run->count, run->room); i--;)
		if (run->called[i].skb == skb)
			return run->called[i].verdict;
	return NF_ACCEPT;
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
	run = nfh_run_alloc(net, array, 1);
	if (run)
		run->skb = nfh_datagram(net, &nfh_run_flow, cookie);
	if (run && run->skb)
		err = nfh_array_run(net, array, start, run, info->extack);
	mutex_unlock(&nn->lock);
	if (!err)
		err = nfh_run_reply(info, run);
	kvfree(run);
	return err;
}
