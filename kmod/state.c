// SPDX-License-Identifier: GPL-2.0-only
/* State of the kernel's that user space cannot see: namespaces on their way out, static keys. */
#include <linux/jump_label.h>
#include <linux/slab.h>
#include <net/genetlink.h>

#include "internal.h"

static int nfh_reply(struct sk_buff *msg, struct genl_info *info, void *hdr, int err)
{
	if (err) {
		nlmsg_free(msg);
		return err;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

/* Inode numbers of namespaces, live or dying. */
static int nfh_netns_put(struct sk_buff *msg, int type, bool live)
{
	struct nlattr *start = nla_nest_start_noflag(msg, type);
	struct nfh_net *nn;

	lockdep_assert_held(&nfh_nets_lock);
	if (!start)
		return -EMSGSIZE;
	list_for_each_entry(nn, &nfh_nets, node)
		if (!!check_net(nn->net) == live &&
		    nla_append(msg, sizeof(nn->net->ns.inum), &nn->net->ns.inum))
			return -EMSGSIZE;
	nla_nest_end(msg, start);
	return 0;
}

int nfh_netns_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *msg;
	bool dying = false;
	struct nfh_net *nn;
	u32 count = 0;
	void *hdr;
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	mutex_lock(&nfh_nets_lock);
	list_for_each_entry(nn, &nfh_nets, node)
		count++;
	mutex_unlock(&nfh_nets_lock);

	/* Room for some that come meanwhile. */
	msg = genlmsg_new(2 * nla_total_size((count + 64) * sizeof(u32)), GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_NETNS_GET);
	mutex_lock(&nfh_nets_lock);
	err = !hdr ? -EMSGSIZE : nfh_netns_put(msg, NFHARNESS_A_NETNS_LIVE, true);
	if (!err)
		err = nfh_netns_put(msg, NFHARNESS_A_NETNS_DYING, false);
	list_for_each_entry(nn, &nfh_nets, node)
		dying |= !check_net(nn->net);
	mutex_unlock(&nfh_nets_lock);

	/*
	 * Where none is dying, those that have left nfh_nets shall have gone
	 * through all of cleanup_net(), whose first step is to leave it.
	 */
	if (!dying)
		net_ns_barrier();
	return nfh_reply(msg, info, hdr, err);
}

int nfh_keys_get_doit(struct sk_buff *skb, struct genl_info *info)
{
#ifdef CONFIG_JUMP_LABEL
	u32 keys[NFPROTO_NUMPROTO][NFHARNESS_KEYS_HOOKS] = {};
	struct sk_buff *msg;
	u32 pf, hooknum;
	void *hdr;
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	for (pf = 0; pf < NFPROTO_NUMPROTO; pf++)
		for (hooknum = 0; hooknum < min(NF_MAX_HOOKS, NFHARNESS_KEYS_HOOKS); hooknum++)
			keys[pf][hooknum] = static_key_count(&nf_hooks_needed[pf][hooknum]);
	msg = genlmsg_new(nla_total_size(sizeof(keys)), GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_KEYS_GET);
	return nfh_reply(msg, info, hdr,
			 hdr ? nla_put(msg, NFHARNESS_A_KEYS, sizeof(keys), keys) : -EMSGSIZE);
#else
	NL_SET_ERR_MSG(info->extack, "this kernel has no jump labels");
	return -EOPNOTSUPP;
#endif
}
