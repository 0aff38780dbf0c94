// SPDX-License-Identifier: GPL-2.0-only
/* Hook points: which there are, and where the kernel keeps their arrays. */
#include <linux/netdevice.h>
#include <linux/netfilter_arp.h>
#include <linux/netfilter_bridge.h>
#include <linux/rtnetlink.h>
#include <net/netlink.h>

#include "internal.h"

bool nfh_point_has_device(const struct nfh_point *point)
{
	return point->pf == NFPROTO_NETDEV ||
	       (point->pf == NFPROTO_INET && point->hooknum == NF_INET_INGRESS);
}

/* Core answers a family or number that it does not know with a splat, see
 * nf_hook_entry_head(): none may get there. 0 for a family without hook points.
 */
u32 nfh_point_limit(u8 pf)
{
	switch (pf) {
	case NFPROTO_IPV4:
	case NFPROTO_IPV6:
		return NF_INET_NUMHOOKS;
	case NFPROTO_INET:
		return NF_INET_INGRESS + 1;
#ifdef CONFIG_NETFILTER_FAMILY_ARP
	case NFPROTO_ARP:
		return NF_ARP_NUMHOOKS;
#endif
#ifdef CONFIG_NETFILTER_FAMILY_BRIDGE
	case NFPROTO_BRIDGE:
		return NF_INET_NUMHOOKS;
#endif
#ifdef CONFIG_NETFILTER_INGRESS
	case NFPROTO_NETDEV:
		return NF_NETDEV_NUMHOOKS;
#endif
	}
	return 0;
}

int nfh_point_parse(struct nlattr **tb, struct nfh_point *point, struct netlink_ext_ack *extack)
{
	u32 limit;

	if (!tb[NFHARNESS_A_PF]) {
		NL_SET_ERR_MSG(extack, "attribute PF is missing");
		return -EINVAL;
	}
	if (!tb[NFHARNESS_A_HOOKNUM]) {
		NL_SET_ERR_MSG(extack, "attribute HOOKNUM is missing");
		return -EINVAL;
	}
	point->pf = nla_get_u8(tb[NFHARNESS_A_PF]);
	point->hooknum = nla_get_u32(tb[NFHARNESS_A_HOOKNUM]);
	point->ifindex = 0;
	point->device_netns = -1;

	if (tb[NFHARNESS_A_UNCHECKED]) {
		if (tb[NFHARNESS_A_IFINDEX])
			point->ifindex = nla_get_u32(tb[NFHARNESS_A_IFINDEX]);
		if (tb[NFHARNESS_A_DEVICE_NETNS])
			point->device_netns = nla_get_s32(tb[NFHARNESS_A_DEVICE_NETNS]);
		return 0;
	}
	limit = nfh_point_limit(point->pf);
	if (!limit) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_PF],
				    "this kernel has no hook points of that family");
		return -EAFNOSUPPORT;
	}
	if (point->hooknum >= limit) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_HOOKNUM],
				    "the family has no hook point of that number in this kernel");
		return -EINVAL;
	}
	if (!nfh_point_has_device(point)) {
		if (!tb[NFHARNESS_A_IFINDEX])
			return 0;
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_IFINDEX],
				    "only NETDEV and INET ingress hook points belong to a device");
		return -EINVAL;
	}
	if (!IS_ENABLED(CONFIG_NETFILTER_INGRESS)) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_HOOKNUM],
				    "this kernel is built without NETFILTER_INGRESS");
		return -EOPNOTSUPP;
	}
	if (!tb[NFHARNESS_A_IFINDEX]) {
		NL_SET_ERR_MSG(extack, "attribute IFINDEX is missing: each device has its own");
		return -EINVAL;
	}
	point->ifindex = nla_get_u32(tb[NFHARNESS_A_IFINDEX]);
	return 0;
}

/* The point's device, in its namespace or a foreign one. RTNL keeps it there. */
struct net_device *nfh_point_device(struct net *net, const struct nfh_point *point)
{
	struct net_device *dev;
	struct net *foreign;

	ASSERT_RTNL();
	if (point->device_netns < 0)
		return __dev_get_by_index(net, point->ifindex);
	foreign = get_net_ns_by_fd(point->device_netns);
	if (IS_ERR(foreign))
		return NULL;
	dev = __dev_get_by_index(foreign, point->ifindex);
	put_net(foreign);
	return dev;
}

/**
 * nfh_point_head - nf_hook_entry_head(), which core keeps to itself
 *
 * @net: namespace
 * @dev: device of the hook point, if it has one
 * @point: a point that nfh_point_parse() let pass
 *
 * Return: where the array hangs, or NULL: the point has no array,
 * or none in this kernel.
 */
struct nf_hook_entries __rcu **nfh_point_head(struct net *net, struct net_device *dev,
					      const struct nfh_point *point)
{
	switch (point->pf) {
	case NFPROTO_IPV4:
		return &net->nf.hooks_ipv4[point->hooknum];
	case NFPROTO_IPV6:
		return &net->nf.hooks_ipv6[point->hooknum];
#ifdef CONFIG_NETFILTER_FAMILY_ARP
	case NFPROTO_ARP:
		return &net->nf.hooks_arp[point->hooknum];
#endif
#ifdef CONFIG_NETFILTER_FAMILY_BRIDGE
	case NFPROTO_BRIDGE:
		return &net->nf.hooks_bridge[point->hooknum];
#endif
#ifdef CONFIG_NETFILTER_INGRESS
	case NFPROTO_INET:
		return dev ? &dev->nf_hooks_ingress : NULL;
	case NFPROTO_NETDEV:
#ifdef CONFIG_NETFILTER_EGRESS
		if (point->hooknum == NF_NETDEV_EGRESS)
			return &dev->nf_hooks_egress;
#endif
		return &dev->nf_hooks_ingress;
#endif
	}
	return NULL;
}

int nfh_point_put(struct sk_buff *msg, const struct nfh_point *point)
{
	if (nla_put_u8(msg, NFHARNESS_A_PF, point->pf) ||
	    nla_put_u32(msg, NFHARNESS_A_HOOKNUM, point->hooknum) ||
	    (point->ifindex && nla_put_u32(msg, NFHARNESS_A_IFINDEX, point->ifindex)))
		return -EMSGSIZE;
	return 0;
}
