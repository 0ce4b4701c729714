"""Findings of area 6: policy.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Weight
from cairn.diagnose.kinds.written import written

POLICY = (
    written("CRN-604", "PolicyDisabled", "policy is switched off", Weight.NOTE, ""),
    written("CRN-605", "PolicyAudited", "policy in audit mode", Weight.NOTE, ""),
    written("CRN-606", "InvalidPolicy", "policy is not understood", Weight.ERROR, ""),
    written("CRN-607", "DnsDenied", "policy closes DNS", Weight.ERROR, ""),
    written("CRN-608", "ApiServerDenied", "policy closes the API server", Weight.NOTE, ""),
    written("CRN-609", "HostGuardOff", "policy of nodes is held off", Weight.WARNING, ""),
    written("CRN-610", "DeniesEverything", "policy allows nothing", Weight.NOTE, ""),
    written("CRN-611", "ContradictoryRules", "rules that contradict each other", Weight.ERROR, ""),
    written("CRN-612", "ShadowedRule", "rule that another makes void", Weight.NOTE, ""),
    written("CRN-613", "SelectsNothing", "policy selects no pod", Weight.WARNING, ""),
    written(
        "CRN-614",
        "SelectsNothingHere",
        "policy selects pods of another namespace",
        Weight.ERROR,
        "",
    ),
    written("CRN-615", "PeerSelectsNothing", "rule names nobody", Weight.NOTE, ""),
    written(
        "CRN-616",
        "PeerSelectsNothingHere",
        "rule names pods of another namespace",
        Weight.ERROR,
        "",
    ),
    written("CRN-617", "CidrExcludesPods", "network that leaves pods out", Weight.NOTE, ""),
    written("CRN-618", "WorldOnly", "0.0.0.0/0 is not everybody", Weight.NOTE, ""),
    written("CRN-619", "NamesWithoutPorts", "names open every port", Weight.NOTE, ""),
    written("CRN-620", "TlsIsOpaque", "HTTP rules where TLS is spoken", Weight.NOTE, ""),
    written("CRN-621", "RateLimitInXdp", "rate limit before the policy", Weight.NOTE, ""),
    written("CRN-622", "RateLimitOwn", "rate limit that only Cairn knows", Weight.NOTE, ""),
    written("CRN-623", "MatchesNothing", "rule matches nothing", Weight.WARNING, ""),
    written("CRN-624", "EmptySection", "section without rules", Weight.NOTE, ""),
    written("CRN-625", "PodSelectorAlias", "podSelector in a Cilium policy", Weight.NOTE, ""),
    written("CRN-626", "PolicyTypesAlias", "policyTypes in a Cilium policy", Weight.NOTE, ""),
    written("CRN-627", "PolicyTypeMissing", "policy type is not named", Weight.NOTE, ""),
    written("CRN-628", "DnsImplied", "DNS is let through for names", Weight.NOTE, ""),
    written("CRN-629", "LogIgnored", "log of a rule is not written", Weight.NOTE, ""),
    written("CRN-630", "AnnotationIgnored", "annotation is not heeded", Weight.NOTE, ""),
    written("CRN-631", "UnknownAnnotation", "annotation means nothing", Weight.NOTE, ""),
    written(
        "CRN-632",
        "UnknownAnnotationValue",
        "value of an annotation means nothing",
        Weight.WARNING,
        "",
    ),
    written("CRN-633", "NoNamespace", "no namespace is named", Weight.NOTE, ""),
    written("CRN-634", "NameMissing", "object without a name", Weight.ERROR, ""),
    written("CRN-635", "InvalidObject", "object of the wrong shape", Weight.ERROR, ""),
    written("CRN-636", "CairnOnlyKind", "kind that only Cairn knows", Weight.NOTE, ""),
    written("CRN-637", "NotAllCompared", "too many rules to compare", Weight.NOTE, ""),
    written("CRN-638", "NotInForce", "object that is stored and does nothing", Weight.WARNING, ""),
    written(
        "CRN-639", "ProtectionMissing", "promise of protection that is not kept", Weight.ERROR, ""
    ),
)
