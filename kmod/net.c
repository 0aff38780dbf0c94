// SPDX-License-Identifier: GPL-2.0-only
/* What all the others stand on: the family, the namespaces, their hooks by number, who may ask. */
#include <linux/cache.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <net/genetlink.h>
#include <net/netns/generic.h>

#include "internal.h"

struct genl_family nfh_family __ro_after_init = {
	.name = NFHARNESS_GENL_NAME,
	.version = NFHARNESS_GENL_VERSION,
	.maxattr = NFHARNESS_A_MAX,
	.netnsok = true,
	.module = THIS_MODULE,
};

LIST_HEAD(nfh_nets);
DEFINE_MUTEX(nfh_nets_lock);
unsigned int nfh_net_id __read_mostly;

struct nfh_net *nfh_net(const struct net *net)
{
	return net_generic(net, nfh_net_id);
}

/**
 * nfh_needs_root - refuse a request that root of a container may not make
 *
 * What makes core warn, what tampers and what looks beyond the namespace is for
 * the administrator of the machine, whose kernel may stop at a warning. Not
 * GENL_ADMIN_PERM, which refuses without a word.
 *
 * @skb: the request
 * @extack: why it was refused
 *
 * Return: 0 or -EPERM.
 */
int nfh_needs_root(const struct sk_buff *skb, struct netlink_ext_ack *extack)
{
	if (netlink_capable(skb, CAP_NET_ADMIN))
		return 0;
	NL_SET_ERR_MSG(extack, "needs CAP_NET_ADMIN in the initial user namespace");
	return -EPERM;
}

struct nfh_hook *nfh_hook_find(struct nfh_net *nn, u64 id)
{
	struct nfh_hook *hook;

	lockdep_assert_held(&nn->lock);
	list_for_each_entry(hook, &nn->hooks, node)
		if (hook->id == id)
			return hook;
	return NULL;
}

struct nfh_hook *nfh_hook_of_request(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_hook *hook;

	if (!info->attrs[NFHARNESS_A_ID]) {
		NL_SET_ERR_MSG(info->extack, "attribute ID is missing");
		return ERR_PTR(-EINVAL);
	}
	hook = nfh_hook_find(nn, nla_get_u64(info->attrs[NFHARNESS_A_ID]));
	if (!hook) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[NFHARNESS_A_ID],
				    "the namespace has no hook with this ID");
		return ERR_PTR(-ENOENT);
	}
	return hook;
}
