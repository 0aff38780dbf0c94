// SPDX-License-Identifier: GPL-2.0-only
/* nf_hook_slow_list() over a private array, with packets that can be told apart. */
#include <linux/bottom_half.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <net/genetlink.h>

#include "internal.h"

#define NFH_LIST_MAX 16

const struct nla_policy nfh_raw_list_policy[NFHARNESS_A_COOKIES + 1] = {
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
	[NFHARNESS_A_COOKIES] = { .type = NLA_BINARY, .len = NFH_LIST_MAX * sizeof(u64) },
};

/**
 * struct nfh_list - packets of a list
 *
 * @count: so many
 * @cookie: theirs, in the order in which they go in
 * @skb: the datagrams, each with a reference of the module's
 * @users: references to each afterwards
 * @linked: whether a hook met each while it was linked to another one
 * @came: whether each came out
 * @passed: so many came out
 * @out: their cookies, in that order
 */
struct nfh_list {
	u32 count;
	u64 cookie[NFH_LIST_MAX];
	struct sk_buff *skb[NFH_LIST_MAX];
	u32 users[NFH_LIST_MAX];
	u32 linked[NFH_LIST_MAX];
	bool came[NFH_LIST_MAX];
	u32 passed;
	u64 out[NFH_LIST_MAX];
};

static u32 nfh_list_index(const struct nfh_list *list, const struct sk_buff *skb)
{
	u32 i;

	for (i = 0; i < list->count && list->skb[i] != skb; i++)
		;
	return i;
}

/* A packet that core has let pass twice is met twice, and that ends the walk. */
static void nfh_list_out(struct nfh_list *list, struct list_head *head)
{
	struct list_head *at;
	u32 index;

	for (at = head->next; at != head && list->passed < NFH_LIST_MAX; at = at->next) {
		index = nfh_list_index(list, list_entry(at, struct sk_buff, list));
		if (index == list->count)
			break;
		list->came[index] = true;
		list->out[list->passed++] = list->cookie[index];
	}
}

static void nfh_list_met(struct nfh_list *list, const struct nfh_run *run)
{
	u32 i, index;

	for (i = 0; i < min(run->count, run->room); i++) {
		index = nfh_list_index(list, run->called[i].skb);
		if (index < list->count)
			list->linked[index] |= run->called[i].linked;
	}
}

static int nfh_list_fill(struct net *net, struct nfh_list *list)
{
	u32 i;

	for (i = 0; i < list->count; i++) {
		list->skb[i] = nfh_datagram(net, &nfh_run_flow, list->cookie[i]);
		if (!list->skb[i])
			return -ENOMEM;
	}
	return 0;
}

static int nfh_list_run(struct net *net, struct nfh_array *array, struct nfh_run *run,
			struct nfh_list *list, struct netlink_ext_ack *extack)
{
	bool queued = false, taken[NFH_LIST_MAX];
	LIST_HEAD(head);
	int err = 0;
	u32 i;

	for (i = 0; i < list->count; i++)
		list_add_tail(&skb_get(list->skb[i])->list, &head);
	WRITE_ONCE(array->run, run);
	local_bh_disable();
	rcu_read_lock();
	nf_hook_slow_list(&head, &run->state, rcu_dereference(array->head));
	rcu_read_unlock();
	local_bh_enable();
	WRITE_ONCE(array->run, NULL);
	nfh_list_out(list, &head);
	nfh_list_met(list, run);
	for (i = 0; i < list->count; i++) {
		list->users[i] = refcount_read(&list->skb[i]->users);
		/* Where nobody listens a verdict with the bypass flag lets it pass. */
		taken[i] = list->users[i] > 1 && !list->came[i] &&
			   (nfh_run_verdict(run, list->skb[i]) & NF_VERDICT_MASK) == NF_QUEUE;
		queued |= taken[i];
	}
	if (queued) {
		NL_SET_ERR_MSG(extack, "a listener took a packet: choose a queue without one");
		nfh_run_unqueue(net);
		err = -EBUSY;
	}
	/* The reference of one that was taken is the listener's. */
	for (i = 0; i < list->count; i++) {
		if (taken[i])
			continue;
		skb_mark_not_on_list(list->skb[i]);
		if (list->users[i] > 1)
			consume_skb(list->skb[i]);
	}
	return err;
}

static int nfh_list_put(struct sk_buff *msg, const struct nfh_run *run, const struct nfh_list *list)
{
	u32 calls = min(run->count, run->room), i;
	struct nlattr *called;
	u64 *pair;

	if (nla_put(msg, NFHARNESS_A_PASSED, list->passed * sizeof(u64), list->out) ||
	    nla_put(msg, NFHARNESS_A_LIST_USERS, list->count * sizeof(u32), list->users) ||
	    nla_put(msg, NFHARNESS_A_LIST_LINKED, list->count * sizeof(u32), list->linked) ||
	    nla_put_u32(msg, NFHARNESS_A_ALTERED, run->altered))
		return -EMSGSIZE;
	called = nla_reserve(msg, NFHARNESS_A_CALLED, calls * 2 * sizeof(u64));
	if (!called)
		return -EMSGSIZE;
	pair = nla_data(called);
	for (i = 0; i < calls; i++) {
		u32 index = nfh_list_index(list, run->called[i].skb);
		u64 cookie = index < list->count ? list->cookie[index] : 0;

		memcpy(&pair[2 * i], &cookie, sizeof(cookie));
		memcpy(&pair[2 * i + 1], &run->called[i].id, sizeof(u64));
	}
	return 0;
}

static int nfh_list_reply(struct genl_info *info, const struct nfh_run *run,
			  const struct nfh_list *list)
{
	struct sk_buff *msg;
	void *hdr;

	msg = genlmsg_new(
		nla_total_size(run->room * 2 * sizeof(u64)) + nla_total_size(sizeof(list->out)) +
			nla_total_size(sizeof(list->users)) + nla_total_size(sizeof(list->linked)) +
			nla_total_size(sizeof(u32)),
		GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_RAW_LIST);
	if (!hdr || nfh_list_put(msg, run, list)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

int nfh_raw_list_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *cookies = info->attrs[NFHARNESS_A_COOKIES];
	struct net *net = genl_info_net(info);
	struct nfh_net *nn = nfh_net(net);
	struct nfh_run *run = NULL;
	struct nfh_array *array;
	struct nfh_list *list;
	int err;
	u32 i;

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	if (!cookies || nla_len(cookies) < sizeof(u64) || nla_len(cookies) % sizeof(u64)) {
		NL_SET_ERR_MSG(info->extack, "needs COOKIES, at least one");
		return -EINVAL;
	}
	list = kzalloc(sizeof(*list), GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	list->count = nla_len(cookies) / sizeof(u64);
	memcpy(list->cookie, nla_data(cookies), nla_len(cookies));

	mutex_lock(&nn->lock);
	array = nfh_array_of_request(nn, info);
	err = PTR_ERR_OR_ZERO(array);
	if (!err)
		err = nfh_list_fill(net, list);
	if (!err) {
		run = nfh_run_alloc(net, array, list->count);
		err = run ? nfh_list_run(net, array, run, list, info->extack) : -ENOMEM;
	}
	mutex_unlock(&nn->lock);
	if (!err)
		err = nfh_list_reply(info, run, list);
	for (i = 0; i < list->count; i++)
		consume_skb(list->skb[i]);
	kvfree(run);
	kfree(list);
	return err;
}
