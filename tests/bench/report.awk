# SPDX-License-Identifier: GPL-2.0
#
# build/bench.json as a table on the terminal (-v form=text) or as a page with bars
# (-v form=html). It reads one object a line, as tests/bench/run writes them.

# field LINE KEY: its value; "" for null
function field(line, key,	v)
{
	if (!match(line, "\"" key "\": *(\"[^\"]*\"|[^,}]*)"))
		return ""
	v = substr(line, RSTART, RLENGTH)
	sub(/^"[^"]*": */, "", v)
	gsub(/"/, "", v)
	return v == "null" ? "" : v
}

function seconds(v)
{
	return v == "" ? "" : sprintf(v < 0.1 ? "%.4f" : v < 10 ? "%.3f" : "%.1f", v)
}

# A goal of bench.md: VALUE at most LIMIT; LATER: it is where things shall go from there.
# Nothing if a row is missing.
function goal(what, value, limit, later)
{
	if (value == "")
		return
	goals++
	goal_what[goals] = what
	goal_value[goals] = sprintf(value == int(value) ? "%d" : "%.2f", value)
	goal_limit[goals] = limit
	verdict[goals] = value <= limit ? "met" : later ? "not yet" : "NOT MET"
	met += value <= limit && !later
	counted += !later
}

# ratio A B: of two times, "" if one is missing
function ratio(a, b)
{
	return a == "" || b == "" || !b ? "" : a / b
}

function sum(a, b)
{
	return a == "" || b == "" ? "" : a + b
}

function make_goals(	i, n, list, w, a)
{
	n = split("create create-tree mkdir unlink unlink-tree rename untar rm", list, " ")
	for (i = 1; i <= n; i++) {
		w = list[i]
		a = t[w, "archil-owner"]
		goal(w ": owner / ext4", ratio(a, t[w, "ext4"]), 1)
		goal(w ": owner / tmpfs, later", ratio(a, t[w, "tmpfs"]), 1.25, 1)
	}
	goal("untar + sync: owner / ext4",
	     ratio(sum(t["untar", "archil-owner"], t["sync", "archil-owner"]),
		   sum(t["untar", "ext4"], t["sync", "ext4"])), 1.2)
	n = split("find lsr gitstatus", list, " ")
	for (i = 1; i <= n; i++) {
		w = list[i]
		goal(w ", warm: owner / ext4", ratio(t[w, "archil-owner"], t[w, "ext4"]), 1.05)
		goal(w ", warm: the owner's requests", requests[w, "archil-owner"], 0)
	}
	goal("untar-rm: records that reach the server", records["untar-rm", "archil-owner"], 0)
	goal("fsync-small: owner / limit-fsync",
	     ratio(t["fsync-small", "archil-owner"], t["limit-fsync", "tcp"]), 1.15)
	goal("seqwrite: owner / limit-write",
	     ratio(t["seqwrite", "archil-owner"], t["limit-write", "tcp"]), 1.05)
	goal("seqwrite: owner / nfs4", ratio(t["seqwrite", "archil-owner"], t["seqwrite", "nfs4"]), 1)
	n = split("archil-owner archil-reader", list, " ")
	for (i = 1; i <= n; i++) {
		a = t["seqread", list[i]]
		goal("seqread: " list[i] " / limit-read", ratio(a, t["limit-read", "tcp"]), 1.05)
		goal("seqread: " list[i] " / nfs4", ratio(a, t["seqread", "nfs4"]), 1)
	}
	goal("cachedread: ext4's rate / owner's", ratio(t["cachedread", "archil-owner"],
	     t["cachedread", "ext4"]), 1.05)
	goal("cachedwrite: ext4's rate / owner's", ratio(t["cachedwrite", "archil-owner"],
	     t["cachedwrite", "ext4"]), 1.05)
	n = split("find lsr readall", list, " ")
	for (i = 1; i <= n; i++) {
		w = list[i]
		goal(w ", first: reader / nfs4", ratio(t[w, "archil-reader"], t[w, "nfs4"]), 0.2)
	}
	n = split("find readall", list, " ")
	for (i = 1; i <= n; i++) {
		w = list[i]
		goal(w "-again: the reader's requests", requests[w "-again", "archil-reader"], 0)
		if (entries)
			goal(w "-late: the reader's requests per entry",
			     ratio(requests[w "-late", "archil-reader"], entries), 1)
	}
	for (i = 1; i <= growths; i++) {
		w = growth[i]
		if (sizes[w] < 2)
			continue
		a = w == "growth-clients" ? "cpu" : "time"
		goal(w ": " a " per operation, " size[w, sizes[w]] " / " size[w, 1],
		     ratio(each[w, sizes[w], a], each[w, 1, a]), 1.25)
	}
}

BEGIN {
	columns = split("tmpfs ext4 nfs4 smb3 archil-owner archil-reader tcp", column, " ")
}

/"work":/ {
	w = field($0, "work")
	f = field($0, "fs")
	rtt = field($0, "rtt_ms")
	if (w ~ /^growth-/) {
		if (!(w in sizes))
			growth[++growths] = w
		i = ++sizes[w]
		n = field($0, "operations")
		size[w, i] = field($0, "size")
		each[w, i, "time"] = field($0, "seconds") / n * 1e6
		each[w, i, "cpu"] = field($0, "server_cpu_seconds") / n * 1e6
		each[w, i, "requests"] = field($0, "requests") / n
		next
	}
	if (!(w in seen)) {
		seen[w] = 1
		work[++works] = w
	}
	used[f] = 1
	t[w, f] = field($0, "seconds")
	requests[w, f] = field($0, "requests")
	records[w, f] = field($0, "records")
	cpu[w, f] = field($0, "server_cpu_seconds")
	flushes[w, f] = field($0, "flushes")
}

function text(	i, j, w, f)
{
	printf "seconds of virtual time, round trip %s ms\n\n%-16s", rtt, ""
	for (j = 1; j <= columns; j++)
		if (column[j] in used)
			printf " %13s", column[j]
	print ""
	for (i = 1; i <= works; i++) {
		w = work[i]
		printf "%-16s", w
		for (j = 1; j <= columns; j++)
			if (column[j] in used)
				printf " %13s", t[w, column[j]] == "" ? "-" : seconds(t[w, column[j]])
		print ""
	}
	if (growths)
		printf "\n%-22s %9s %12s %12s %12s\n", "growth, per operation", "size", "us",
			"server's us", "requests"
	for (i = 1; i <= growths; i++)
		for (j = 1; j <= sizes[growth[i]]; j++) {
			w = growth[i]
			printf "%-22s %9d %12.1f %12.1f %12.3f\n", w, size[w, j], each[w, j, "time"],
				each[w, j, "cpu"], each[w, j, "requests"]
		}
	if (goals)
		printf "\n%-58s %9s %9s\n", "goals of bench.md", "is", "at most"
	for (i = 1; i <= goals; i++)
		printf "%-58s %9s %9s  %s\n", goal_what[i], goal_value[i], goal_limit[i],
			verdict[i]
	if (goals)
		printf "%d of %d goals met\n", met, counted
}

function more(w, f,	s)
{
	s = ""
	if (requests[w, f] != "")
		s = s requests[w, f] " requests"
	if (flushes[w, f] != "")
		s = s (s == "" ? "" : ", ") flushes[w, f] " flushes"
	if (cpu[w, f] != "")
		s = s (s == "" ? "" : ", ") "server " seconds(cpu[w, f]) " s"
	return s
}

function html(	i, j, w, f, max)
{
	print "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>archil: make bench</title>"
	print "<style>body{font:15px/1.4 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
	print "table{border-collapse:collapse;width:100%}td,th{padding:1px 8px;text-align:left}"
	print "td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
	print "td.b{width:45%}td.b div{height:12px;min-width:1px;background:#9ab}"
	print "tr.archil-owner td.b div,tr.archil-reader td.b div{background:#c52}"
	print "tr.tcp td.b div{background:#583}"
	print "td.s{color:#666;font-size:12px}h2{font-size:16px;margin:1.2em 0 .2em}"
	print ".bad{color:#b00;font-weight:bold}</style>"
	printf "<h1>make bench</h1><p>Seconds of virtual time, round trip %s ms; shorter is better.</p>\n", rtt
	for (i = 1; i <= works; i++) {
		w = work[i]
		max = 0
		for (j = 1; j <= columns; j++)
			if (t[w, column[j]] + 0 > max)
				max = t[w, column[j]] + 0
		printf "<h2>%s</h2><table>\n", w
		for (j = 1; j <= columns; j++) {
			f = column[j]
			if (t[w, f] == "")
				continue
			printf "<tr class=%s><td style='width:8em'>%s<td class=n>%s<td class=b>", f, f,
				seconds(t[w, f])
			printf "<div style='width:%.2f%%'></div><td class=s>%s\n",
				max ? 100 * t[w, f] / max : 0, more(w, f)
		}
		print "</table>"
	}
	if (growths) {
		print "<h2>Growth: one operation</h2><table><tr><th>what<th>size<th>us<th><th>server's us"
		for (i = 1; i <= growths; i++) {
			w = growth[i]
			max = 0
			for (j = 1; j <= sizes[w]; j++)
				if (each[w, j, "time"] > max)
					max = each[w, j, "time"]
			for (j = 1; j <= sizes[w]; j++) {
				printf "<tr class=archil-owner><td>%s<td class=n>%d<td class=n>%.1f<td class=b>",
					w, size[w, j], each[w, j, "time"]
				printf "<div style='width:%.2f%%'></div><td class=n>%.1f\n",
					max ? 100 * each[w, j, "time"] / max : 0, each[w, j, "cpu"]
			}
		}
		print "</table>"
	}
	if (goals)
		print "<h2>Goals</h2><table><tr><th>what<th>is<th>at most<th>"
	for (i = 1; i <= goals; i++)
		printf "<tr><td>%s<td class=n>%s<td class=n>%s<td%s\n", goal_what[i], goal_value[i],
			goal_limit[i], (verdict[i] == "NOT MET" ? " class=bad>" : ">") verdict[i]
	if (goals)
		print "</table>"
	print "</html>"
}

END {
	make_goals()
	if (form == "html")
		html()
	else
		text()
}
