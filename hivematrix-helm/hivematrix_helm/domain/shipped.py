"""The alert rules that come with Helm. One's own, in instance/alerts.toml, change them key by key and add others."""

RULES = """
[rule.service_down]
title = "{service} is down"
of = "service_state"
is = ["down"]
severity = "critical"
no_data = "alert"
no_data_for = "5m"

[rule.service_slow]
title = "{service} is slow"
of = "service_state"
is = ["slow"]
for = "10m"
keep_firing_for = "5m"
inhibited_by = ["service_down"]

[rule.service_errors]
title = "{service} answers with errors"
of = "hm_requests_total"
where = { status = "500" }
above = 0.05
for = "5m"
keep_firing_for = "5m"
inhibited_by = ["service_down"]

[rule.disk_filling]
title = "The data disk fills"
of = "disk_used_ratio"
above = 0.85
clear = 0.80
for = "30m"
inhibited_by = ["disk_full"]

[rule.disk_full]
title = "The data disk is nearly full"
of = "disk_used_ratio"
above = 0.95
clear = 0.93
for = "1m"
severity = "critical"

[rule.backup_late]
title = "No backup was proved in 26 hours"
of = "backup_state"
is = ["late"]
severity = "critical"

[rule.backup_damaged]
title = "A backup set is damaged"
of = "backup_state"
is = ["damaged"]
severity = "critical"

[rule.backup_not_away]
title = "A backup set is not off-site"
of = "backup_state"
is = ["not_away"]

[rule.witness]
title = "The archive's log is not as it was seen"
of = "witness_state"
is = ["shorter", "different", "stale"]
severity = "critical"

[rule.timer_silent]
title = "{timer} did not run"
of = "timer_overdue_seconds"
above = 0

[rule.timer_failed]
title = "{timer} failed"
of = "timer_outcome"
is = ["failed"]

[rule.token_ends]
title = "A token ends soon"
of = "token_days_left"
below = 14
severity = "info"

[rule.look_failed]
title = "The {part} cannot be looked at"
of = "look_state"
is = ["failed"]
for = "1m"
severity = "critical"

[rule.rules_broken]
title = "The alert rules are broken"
of = "rules_state"
is = ["broken"]
severity = "critical"
"""
