// SPDX-License-Identifier: GPL-2.0-only
/* Does its kernel the harm that it is told to when it is loaded, so that tests see it noticed. */
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/preempt.h>
#include <linux/string.h>
#include <net/net_namespace.h>

static char *how = "";
module_param(how, charp, 0400);
MODULE_PARM_DESC(how, "warn, oops, panic, hang or leak");

static unsigned int harm_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return NF_ACCEPT;
}

static const struct nf_hook_ops harm_ops = {
	.hook = harm_hook,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_FORWARD,
	.priority = 77,
};

static int __init harm_init(void)
{
	if (!strcmp(how, "warn"))
		WARN(1, "harm: warned as told\n");
	if (!strcmp(how, "oops"))
		*(volatile int *)8 = 1;
	if (!strcmp(how, "panic"))
		panic("harm: panicked as told");
	if (!strcmp(how, "hang")) {
		preempt_disable();
		for (;;)
			cpu_relax();
	}
	if (!strcmp(how, "leak"))
		return nf_register_net_hook(&init_net, &harm_ops);
	return 0;
}

static void __exit harm_exit(void)
{
	/* A leak stays: its memory is never given back, which is why it must not go while it is called. */
}

module_init(harm_init);
module_exit(harm_exit);
MODULE_DESCRIPTION("Harm done on purpose");
MODULE_LICENSE("GPL");
