// SPDX-License-Identifier: GPL-2.0-only
/* What no hook should do: for tests that want to see it noticed. */
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <net/genetlink.h>

#include "internal.h"

static bool nfh_tampers(const struct nfh_hook *hook, u32 how)
{
	return READ_ONCE(hook->tampering) & BIT(how);
}

void nfh_tamper_packet(struct nfh_hook *hook, struct sk_buff *skb,
		       const struct nf_hook_state *state)
{
	struct sk_buff *copy;
	u32 count;

	if (nfh_tampers(hook, NFHARNESS_TAMPER_HOLD)) {
		count = atomic_inc_return(&hook->held->count);
		if (count <= ARRAY_SIZE(hook->held->skb))
			hook->held->skb[count - 1] = skb_get(skb);
	}
	if (nfh_tampers(hook, NFHARNESS_TAMPER_DUPLICATE)) {
		copy = skb_copy(skb, GFP_ATOMIC);
		if (copy)
			state->okfn(state->net, state->sk, copy);
	}
}

/* Before @hook is unregistered. */
void nfh_tamper_undo(struct nfh_net *nn, struct nfh_hook *hook)
{
	bool hidden = nfh_tampers(hook, NFHARNESS_TAMPER_HIDE);
	u32 i;

	lockdep_assert_held(&nn->lock);
	WRITE_ONCE(hook->tampering, 0);
	/* Core shall find it, or the static key of the point would stay up. */
	if (hidden)
		nf_hook_entries_insert_raw(nfh_point_head(nn->net, hook->ops->dev, &hook->point),
					   hook->ops);
	if (!hook->held)
		return;
	synchronize_rcu();
	for (i = 0; i < ARRAY_SIZE(hook->held->skb); i++)
		kfree_skb(hook->held->skb[i]);
	kfree(hook->held);
	hook->held = NULL;
}

static int nfh_tamper(struct nfh_net *nn, struct nfh_hook *hook, u32 how,
		      struct netlink_ext_ack *extack)
{
	struct nf_hook_entries __rcu **head;

	if (nfh_tampers(hook, how)) {
		NL_SET_ERR_MSG(extack, "the hook is tampered with in that way already");
		return -EALREADY;
	}
	switch (how) {
	case NFHARNESS_TAMPER_HIDE:
		head = nfh_point_head(nn->net, hook->ops->dev, &hook->point);
		if (!head || hook->batch || hook->registrations != 1) {
			NL_SET_ERR_MSG(extack,
				       "only a hook that came alone, at one point, is hidden");
			return -EOPNOTSUPP;
		}
		nf_hook_entries_delete_raw(head, hook->ops);
		break;
	case NFHARNESS_TAMPER_MISCOUNT:
		atomic64_inc(&hook->calls);
		return 0;
	case NFHARNESS_TAMPER_HOLD:
		hook->held = kzalloc(sizeof(*hook->held), GFP_KERNEL_ACCOUNT);
		if (!hook->held)
			return -ENOMEM;
		break;
	}
	/* nfharness_hook() may run on another processor, and find @held. */
	smp_store_release(&hook->tampering, hook->tampering | BIT(how));
	return 0;
}

int nfh_tamper_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	struct nfh_hook *hook;
	int err;

	if (!info->attrs[NFHARNESS_A_TAMPER]) {
		NL_SET_ERR_MSG(info->extack, "attribute TAMPER is missing");
		return -EINVAL;
	}
	mutex_lock(&nn->lock);
	hook = nfh_hook_of_request(nn, info);
	err = PTR_ERR_OR_ZERO(hook);
	if (!err)
		err = nfh_tamper(nn, hook, nla_get_u32(info->attrs[NFHARNESS_A_TAMPER]),
				 info->extack);
	mutex_unlock(&nn->lock);
	return err;
}
