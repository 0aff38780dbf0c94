// SPDX-License-Identifier: GPL-2.0-only
/* What no hook should do: for tests that want to see it noticed. */
#include <linux/bottom_half.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <net/genetlink.h>

#include "internal.h"

static bool nfh_tampers(const struct nfh_hook *hook, u32 how)
{
	/* Pairs with nfh_tamper(): @held is there where the bit is. */
	return smp_load_acquire(&hook->tampering) & BIT(how);
}

/* Without the connection, which core confirms for one packet only. */
static void nfh_duplicate(const struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct sk_buff *copy = state->okfn ? skb_copy(skb, GFP_ATOMIC) : NULL;

	if (!copy)
		return;
	nf_reset_ct(copy);
	/* The task that answers for a queued packet calls hooks, too, and TCP
	 * takes its locks as softirqs do.
	 */
	local_bh_disable();
	state->okfn(state->net, state->sk, copy);
	local_bh_enable();
}

/* The packet is the hook's, as any that is stolen: a mere reference would be
 * overlooked by TCP, which frees what it thinks nobody else has. It keeps no
 * socket, route or connection.
 */
static bool nfh_hold(struct nfh_held *held, struct sk_buff *skb)
{
	int count = atomic_fetch_add_unless(&held->count, 1, ARRAY_SIZE(held->skb));

	if (count == ARRAY_SIZE(held->skb))
		return false;
	skb_orphan(skb);
	skb_scrub_packet(skb, true);
	held->skb[count] = skb;
	return true;
}

/* Return: whether the packet is kept, and the verdict NF_STOLEN. */
bool nfh_tamper_packet(struct nfh_hook *hook, struct sk_buff *skb,
		       const struct nf_hook_state *state)
{
	if (nfh_tampers(hook, NFHARNESS_TAMPER_DUPLICATE))
		nfh_duplicate(skb, state);
	return nfh_tampers(hook, NFHARNESS_TAMPER_HOLD) && nfh_hold(hook->held, skb);
}

/* Before @hook is unregistered. Return: whether it is, being hidden. */
bool nfh_tamper_undo(struct nfh_net *nn, struct nfh_hook *hook)
{
	bool hidden = nfh_tampers(hook, NFHARNESS_TAMPER_HIDE);
	u32 i;

	lockdep_assert_held(&nn->lock);
	WRITE_ONCE(hook->tampering, 0);
	if (!hook->held)
		return hidden;
	synchronize_rcu();
	for (i = 0; i < ARRAY_SIZE(hook->held->skb); i++)
		kfree_skb(hook->held->skb[i]);
	kfree(hook->held);
	hook->held = NULL;
	return hidden;
}

static int nfh_tamper(struct nfh_net *nn, struct nfh_hook *hook, u32 how,
		      struct netlink_ext_ack *extack)
{
	if (nfh_tampers(hook, how)) {
		NL_SET_ERR_MSG(extack, "the hook is tampered with in that way already");
		return -EALREADY;
	}
	switch (how) {
	case NFHARNESS_TAMPER_HIDE:
		if (hook->batch || hook->registrations != 1) {
			NL_SET_ERR_MSG(extack, "only a hook that came alone, and once, is hidden");
			return -EOPNOTSUPP;
		}
		/* Not nf_hook_entries_delete_raw(): core alone locks a live array. */
		nf_unregister_net_hook(nn->net, hook->ops);
		break;
	case NFHARNESS_TAMPER_MISCOUNT:
		atomic64_inc(&hook->calls);
		return 0;
	case NFHARNESS_TAMPER_DUPLICATE:
		if (nfh_point_has_device(&hook->point)) {
			NL_SET_ERR_MSG(extack,
				       "a device's hook point has no okfn that a copy could go to");
			return -EOPNOTSUPP;
		}
		break;
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

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
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
