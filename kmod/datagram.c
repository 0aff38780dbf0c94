// SPDX-License-Identifier: GPL-2.0-only
/* Datagrams for core's functions to work on, which the stack never gets. */
#include <linux/ip.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/udp.h>
#include <net/ip.h>

#include "internal.h"

/**
 * nfh_datagram - make a datagram as one that lo has received
 *
 * @net: namespace
 * @flow: its addresses and ports
 * @cookie: its end is as nfharness.h says
 *
 * Return: the caller's to consume, or NULL without memory.
 */
struct sk_buff *nfh_datagram(struct net *net, const struct nfh_flow *flow, u64 cookie)
{
	const __be64 end = cpu_to_be64(cookie);
	const u16 payload = 32;
	struct sk_buff *skb;
	struct udphdr *udp;
	struct iphdr *ip;

	skb = alloc_skb(LL_MAX_HEADER + sizeof(*ip) + sizeof(*udp) + payload, GFP_KERNEL);
	if (!skb)
		return NULL;
	skb_reserve(skb, LL_MAX_HEADER);
	skb_reset_mac_header(skb);
	skb->protocol = htons(ETH_P_IP);
	skb->pkt_type = PACKET_HOST;
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	skb->dev = net->loopback_dev;

	skb_reset_network_header(skb);
	ip = skb_put_zero(skb, sizeof(*ip));
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = htons(sizeof(*ip) + sizeof(*udp) + payload);
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = flow->saddr;
	ip->daddr = flow->daddr;
	ip->check = ip_fast_csum((u8 *)ip, ip->ihl);

	skb_set_transport_header(skb, sizeof(*ip));
	udp = skb_put_zero(skb, sizeof(*udp));
	udp->source = flow->sport;
	udp->dest = flow->dport;
	udp->len = htons(sizeof(*udp) + payload);

	skb_put_zero(skb, payload - NFHARNESS_COOKIE_MAGIC_LEN - sizeof(end));
	skb_put_data(skb, NFHARNESS_COOKIE_MAGIC, NFHARNESS_COOKIE_MAGIC_LEN);
	skb_put_data(skb, &end, sizeof(end));
	return skb;
}
