// SPDX-License-Identifier: GPL-2.0-only
/* Verdicts: which a hook on the packet path may give, and their netlink form. */
#include <linux/errno.h>
#include <linux/netfilter.h>
#include <net/netlink.h>

#include "internal.h"

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
int nfh_verdict_parse(struct nlattr **tb, struct nfh_hook *hook, struct netlink_ext_ack *extack)
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

int nfh_verdict_put(struct sk_buff *msg, u32 verdict)
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
