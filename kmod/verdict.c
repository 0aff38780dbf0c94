// SPDX-License-Identifier: GPL-2.0-only
/* What hooks answer: to nf_hook_slow(), and to nf_reinject(). */
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/skbuff.h>
#include <net/netfilter/nf_queue.h>
#include <net/netlink.h>

#include "internal.h"

/* nf_reinject() hands out the state in its queue entry, nf_hook_slow() that on
 * its caller's stack.
 */
static bool nfh_is_reinjected(const struct sk_buff *skb, const struct nf_hook_state *state)
{
	const struct nf_queue_entry *entry = container_of(state, struct nf_queue_entry, state);

	return virt_addr_valid(state) && PageSlab(virt_to_head_page(state)) && entry->skb == skb;
}

/* What a hook answers for a packet that matches. */
u32 nfh_hook_verdict(struct nfh_hook *hook, const struct sk_buff *skb,
		     const struct nf_hook_state *state)
{
	if (!hook->has_reinject_verdict || !nfh_is_reinjected(skb, state))
		return hook->verdict;
	if (hook->has_times && atomic_dec_if_positive(&hook->times_left) < 0)
		return NF_ACCEPT;
	return hook->reinject_verdict;
}

/* nf_reinject() finds its way back to these families only, and needs an okfn. */
static bool nfh_point_can_queue(const struct nfh_point *point)
{
	switch (point->pf) {
	case NFPROTO_IPV4:
	case NFPROTO_IPV6:
	case NFPROTO_BRIDGE:
		return true;
	case NFPROTO_INET:
		return !nfh_point_has_device(point);
	}
	return false;
}

static int nfh_verdict_parse_queue(struct nlattr **tb, struct nfh_hook *hook,
				   struct netlink_ext_ack *extack)
{
	if (!nfh_point_can_queue(&hook->point)) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_VERDICT],
				    "core cannot reinject a packet queued at this hook point");
		return -EOPNOTSUPP;
	}
	if (!tb[NFHARNESS_A_QUEUE_NUM]) {
		NL_SET_ERR_MSG(extack, "attribute QUEUE_NUM is missing: the verdict is NF_QUEUE");
		return -EINVAL;
	}
	hook->verdict = NF_QUEUE_NR(nla_get_u16(tb[NFHARNESS_A_QUEUE_NUM]));
	if (tb[NFHARNESS_A_QUEUE_BYPASS])
		hook->verdict |= NF_VERDICT_FLAG_QUEUE_BYPASS;
	return 0;
}

/* The policy keeps ERRNO in 1..MAX_ERRNO. More than 15 bits of it, and core
 * would free the skb and return a positive number: use after free in its caller.
 */
static int nfh_slow_parse(struct nlattr **tb, struct nfh_hook *hook, struct netlink_ext_ack *extack)
{
	if (!tb[NFHARNESS_A_VERDICT]) {
		NL_SET_ERR_MSG(extack, "attribute VERDICT is missing");
		return -EINVAL;
	}
	hook->verdict = nla_get_u32(tb[NFHARNESS_A_VERDICT]);

	if (hook->verdict != NF_QUEUE &&
	    (tb[NFHARNESS_A_QUEUE_NUM] || tb[NFHARNESS_A_QUEUE_BYPASS])) {
		NL_SET_ERR_MSG(extack, "QUEUE_NUM and QUEUE_BYPASS go with NF_QUEUE only");
		return -EINVAL;
	}
	if (hook->verdict != NF_DROP && hook->verdict != NF_STOLEN && tb[NFHARNESS_A_ERRNO]) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_ERRNO],
				    "an errno goes with the verdicts NF_DROP and NF_STOLEN only");
		return -EINVAL;
	}
	switch (hook->verdict) {
	case NF_ACCEPT:
		return 0;
	case NF_DROP:
	case NF_STOLEN:
		if (tb[NFHARNESS_A_ERRNO])
			hook->verdict |= nla_get_u32(tb[NFHARNESS_A_ERRNO]) << NF_VERDICT_QBITS;
		return 0;
	case NF_QUEUE:
		return nfh_verdict_parse_queue(tb, hook, extack);
	}
	NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_VERDICT],
			    "the verdict must be NF_ACCEPT, NF_DROP, NF_STOLEN or NF_QUEUE");
	return -EINVAL;
}

/* nf_reinject() frees the skb of a verdict that it does not know, and calls a
 * hook that says NF_REPEAT once more: only that must come to an end.
 */
static int nfh_reinject_parse(struct nlattr **tb, struct nfh_hook *hook,
			      struct netlink_ext_ack *extack)
{
	if (!tb[NFHARNESS_A_REINJECT_VERDICT]) {
		if (!tb[NFHARNESS_A_TIMES])
			return 0;
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_TIMES],
				    "TIMES goes with REINJECT_VERDICT only");
		return -EINVAL;
	}
	if (!nfh_point_can_queue(&hook->point)) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_REINJECT_VERDICT],
				    "core reinjects no packet at this hook point");
		return -EOPNOTSUPP;
	}
	hook->has_reinject_verdict = true;
	hook->reinject_verdict = nla_get_u32(tb[NFHARNESS_A_REINJECT_VERDICT]);
	if (tb[NFHARNESS_A_TIMES]) {
		hook->has_times = true;
		atomic_set(&hook->times_left, nla_get_u32(tb[NFHARNESS_A_TIMES]));
	} else if (hook->reinject_verdict == NF_REPEAT) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_REINJECT_VERDICT],
				    "NF_REPEAT without TIMES would go on for ever");
		return -EINVAL;
	}
	return 0;
}

/* Of a hook whose point is known. */
int nfh_verdict_parse(struct nlattr **tb, struct nfh_hook *hook, struct netlink_ext_ack *extack)
{
	int err = nfh_slow_parse(tb, hook, extack);

	return err ?: nfh_reinject_parse(tb, hook, extack);
}

static int nfh_slow_put(struct sk_buff *msg, u32 verdict)
{
	u32 kind = verdict & NF_VERDICT_MASK;
	u32 upper = verdict >> NF_VERDICT_QBITS;

	if (nla_put_u32(msg, NFHARNESS_A_VERDICT, kind))
		return -EMSGSIZE;
	if (kind != NF_QUEUE)
		return upper ? nla_put_u32(msg, NFHARNESS_A_ERRNO, upper) : 0;
	if (nla_put_u16(msg, NFHARNESS_A_QUEUE_NUM, upper))
		return -EMSGSIZE;
	if (verdict & NF_VERDICT_FLAG_QUEUE_BYPASS)
		return nla_put_flag(msg, NFHARNESS_A_QUEUE_BYPASS);
	return 0;
}

int nfh_verdict_put(struct sk_buff *msg, const struct nfh_hook *hook)
{
	if (nfh_slow_put(msg, hook->verdict))
		return -EMSGSIZE;
	if (hook->has_reinject_verdict &&
	    nla_put_u32(msg, NFHARNESS_A_REINJECT_VERDICT, hook->reinject_verdict))
		return -EMSGSIZE;
	if (hook->has_times && nla_put_u32(msg, NFHARNESS_A_TIMES, atomic_read(&hook->times_left)))
		return -EMSGSIZE;
	return 0;
}
