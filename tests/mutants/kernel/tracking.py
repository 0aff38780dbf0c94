"""Wrong ways to connection tracking, and wrong lives of namespaces."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_TUPLE = "\t\tret = «ct_hook->get_tuple_skb(dst_tuple, skb)»;"
_DESTROY = "\t\t«ct_hook->destroy(nfct);»"
_CLOSING = "\t\t«ct_hook->set_closing(nfct);»"
_ATTACH = "\t\t\t«ct_hook->attach(new, skb);»"
_MKDIR = "\tnet->nf.proc_netfilter = «proc_net_mkdir(net, \"netfilter\",\n\t\t\t\t\t\tnet->proc_net)»;"
_NO_ENTRY = "\t\t\tpr_err(\"cannot create netfilter proc entry\");\n\n\t\t«return -ENOMEM;»"

CONNECTIONS = (
    fault("ct-attach-always", "\tif («skb->_nfct») {\n\t\trcu_read_lock();", "1",
          breaks="nothing is attached to a packet without a connection", rules="ct.hooks"),
    fault("ct-attach-without-a-hook", "\t\tif («ct_hook»)\n\t\t\tct_hook->attach(new, skb);", "1",
          breaks="without conntrack nobody is called", rules="ct.absent"),
    fault("ct-attach-never", _ATTACH, ";", breaks="what a packet triggers gets its connection", rules="ct.hooks ct.present ct.icmp-error"),
    fault("ct-attach-turned", _ATTACH, "ct_hook->attach((struct sk_buff *)skb, new);",
          breaks="what a packet triggers gets its connection", rules="ct.hooks ct.present"),
    fault("ct-tuple-inverted", _TUPLE, "!ct_hook->get_tuple_skb(dst_tuple, skb)",
          breaks="a tuple is the hook's answer", rules="ct.hooks ct.present"),
    fault("ct-tuple-always", _TUPLE, "(ct_hook->get_tuple_skb(dst_tuple, skb), true)",
          breaks="a tuple is the hook's answer", rules="ct.present"),
    fault("ct-tuple-without-a-hook", "\tbool ret = «false»;", "true", breaks="without conntrack there is no tuple", rules="ct.absent"),
    fault("ct-destroy-never", _DESTROY, ";", breaks="a connection that nobody refers to is destroyed", rules="ct.hooks ct.present"),
    fault("ct-destroy-twice", _DESTROY, "ct_hook->destroy(nfct);\n\t\tct_hook->destroy(nfct);",
          breaks="a connection is destroyed once", rules="ct.hooks"),
    fault("ct-orphan-silent", "\tWARN_ON(«!ct_hook»);", "0", breaks="a connection that nobody destroys warns", rules="ct.orphan"),
    fault("ct-orphan-always", "\tWARN_ON(«!ct_hook»);", "1", breaks="a connection that is destroyed does not warn", rules="ct.hooks"),
    fault("ct-closing-inverted", "\tif («!nfct»)\n\t\treturn;", "nfct != NULL", breaks="a connection is closed", rules="ct.closing"),
    fault("ct-closing-of-none", "\tif («!nfct»)\n\t\treturn;", "0", breaks="no connection is not closed", rules="ct.closing"),
    fault("ct-closing-never", _CLOSING, ";", breaks="a connection is closed", rules="ct.closing"),
    fault("ct-closing-destroys", _CLOSING, "ct_hook->destroy(nfct);", breaks="a connection is closed", rules="ct.closing"),
    fault("ct-closing-puts", _CLOSING, "nf_conntrack_put(nfct);", breaks="a connection that is closed stays", rules="ct.closing ct.closing-tracked"),
)

NAMESPACES = (
    fault("heads-not-emptied", "\t\t«RCU_INIT_POINTER(e[h], NULL);»", ";",
          breaks="a namespace starts empty", why="net_alloc() takes zeroed memory, and nobody registers hooks before: nobody can tell"),
    fault("heads-of-the-first-namespace", "\t\t«RCU_INIT_POINTER(e[h], NULL);»",
          "RCU_INIT_POINTER(e[h], rcu_access_pointer(init_net.nf.hooks_ipv4[h]));",
          breaks="a namespace starts empty", rules="pernet.empty pernet.isolated"),
    fault("heads-ipv6-of-the-first-namespace",
          "\t«__netfilter_net_init(net->nf.hooks_ipv6, ARRAY_SIZE(net->nf.hooks_ipv6));»",
          "memcpy(net->nf.hooks_ipv6, init_net.nf.hooks_ipv6, sizeof(net->nf.hooks_ipv6));",
          breaks="the points of every family start empty", rules="pernet.empty pernet.isolated"),
    fault("proc-none", _MKDIR, "init_net.nf.proc_netfilter ?: proc_net_mkdir(net, \"netfilter\", net->proc_net)",
          breaks="each namespace has a /proc/net/netfilter",
          why="nf_log_net_init() finds its file there already, and unshare() of a namespace fails with -ENOMEM: no rule begins, and nothing "
              "is concluded"),
    fault("proc-shut", _MKDIR, "proc_mkdir_data(\"netfilter\", 0500, net->proc_net, NULL)",
          breaks="/proc/net/netfilter is its namespace's owner's", rules="pernet.proc"),
    fault("proc-enomem-lost", _NO_ENTRY, ";", breaks="a namespace without memory for its directory is none", rules="pernet.enomem"),
    fault("proc-enomem-otherwise", _NO_ENTRY, "return -ENOENT;", breaks="no memory for the directory is -ENOMEM", rules="pernet.enomem"),
    fault("proc-stays", "\t«remove_proc_entry(\"netfilter\", net->proc_net);»", ";",
          breaks="the directory goes with its namespace", rules="pernet.proc"),
    fault("proc-of-another-name", "\t«remove_proc_entry(\"netfilter\", net->proc_net);»", "remove_proc_entry(\"netfilte\", net->proc_net);",
          breaks="the directory goes with its namespace", rules="pernet.proc"),
)

FAULTS = (*CONNECTIONS, *NAMESPACES)
