// SPDX-License-Identifier: GPL-2.0-only
/* Life of the module, of its namespaces, and of the devices that hooks hang on. */
#include <linux/module.h>
#include <linux/netdevice.h>
#include <net/genetlink.h>

#include "internal.h"

static int __net_init nfh_net_init(struct net *net)
{
	struct nfh_net *nn = nfh_net(net);

	nn->net = net;
	mutex_init(&nn->lock);
	INIT_LIST_HEAD(&nn->hooks);
	INIT_LIST_HEAD(&nn->arrays);
	nn->generation = 1;
	mutex_lock(&nfh_nets_lock);
	list_add_tail(&nn->node, &nfh_nets);
	mutex_unlock(&nfh_nets_lock);
	return 0;
}

/* Not .exit: packets may be in nfharness_hook() until the synchronize_rcu()
 * that the core does between the two.
 */
static void __net_exit nfh_net_pre_exit(struct net *net)
{
	nfh_hook_flush(net, NULL);
	nfh_array_flush(nfh_net(net));
}

static void __net_exit nfh_net_exit(struct net *net)
{
	struct nfh_net *nn = nfh_net(net);

	mutex_lock(&nfh_nets_lock);
	list_del(&nn->node);
	mutex_unlock(&nfh_nets_lock);
	WARN_ON_ONCE(!list_empty(&nn->hooks));
	mutex_destroy(&nn->lock);
}

static struct pernet_operations nfh_net_ops = {
	.init = nfh_net_init,
	.pre_exit = nfh_net_pre_exit,
	.exit = nfh_net_exit,
	.id = &nfh_net_id,
	.size = sizeof(struct nfh_net),
};

/* A device that goes, or leaves for another namespace, takes its hooks along. */
static int nfh_netdev_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);

	if (event == NETDEV_UNREGISTER)
		nfh_hook_flush(dev_net(dev), dev);
	return NOTIFY_DONE;
}

static struct notifier_block nfh_netdev_notifier = {
	.notifier_call = nfh_netdev_event,
};

static int __init nfh_init(void)
{
	int err;

	err = register_pernet_subsys(&nfh_net_ops);
	if (err)
		return err;
	err = register_netdevice_notifier(&nfh_netdev_notifier);
	if (err)
		goto err_pernet;
	err = nfh_netlink_register();
	if (err)
		goto err_notifier;
	return 0;

err_notifier:
	unregister_netdevice_notifier(&nfh_netdev_notifier);
err_pernet:
	unregister_pernet_subsys(&nfh_net_ops);
	return err;
}

static void __exit nfh_exit(void)
{
	genl_unregister_family(&nfh_family);
	nfh_fault_unmake();
	unregister_netdevice_notifier(&nfh_netdev_notifier);
	unregister_pernet_subsys(&nfh_net_ops);
	nfh_memory_disarm();
}

module_init(nfh_init);
module_exit(nfh_exit);

MODULE_DESCRIPTION("Netfilter hooks on demand, for tests");
MODULE_LICENSE("GPL");
MODULE_ALIAS_GENL_FAMILY(NFHARNESS_GENL_NAME);
MODULE_INFO(test, "Y");
