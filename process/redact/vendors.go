package redact

import "strings"

// vendor is the form of the keys of one issuer.
type vendor struct {
	prefix string
	of     set // what follows
	least  int // how many of it
	flags  vendorFlags
}

type vendorFlags uint8

const (
	exact    vendorFlags = 1 << iota // only with the prefix's own case
	mixed                            // only with digits and letters of both cases: the prefix alone says little
	inside                           // the prefix may be part of a word
	suffix                           // it is no prefix: what counts stands before
	only                             // no more than least follow
	address                          // the rest is a path: whatever a URL can have
	segments                         // parts between dots: Discord's
)

// vendors are the forms of keys that say themselves whose they are, as their
// issuers and the rules of public scanners for secrets describe them.
var vendors = []vendor{
	{"ghp_", alnum, 30, 0}, {"gho_", alnum, 30, 0}, {"ghu_", alnum, 30, 0}, {"ghs_", alnum, 30, 0},
	{"ghr_", alnum, 30, 0}, {"github_pat_", b64url, 22, 0}, // GitHub
	{"glpat-", ident, 20, 0}, {"gldt-", ident, 20, 0}, {"glrt-", ident, 20, 0}, {"glptt-", ident, 20, 0},
	{"glcbt-", ident, 20, 0}, {"gloas-", ident, 20, 0}, {"glsoat-", ident, 20, 0}, // GitLab
	{"xoxb-", b64url, 10, 0}, {"xoxp-", b64url, 10, 0}, {"xoxa-", b64url, 10, 0}, {"xoxr-", b64url, 10, 0},
	{"xoxs-", b64url, 10, 0}, {"xoxe-", b64url, 10, 0}, {"xoxe.", ident, 10, 0}, {"xapp-", b64url, 10, 0},
	{"xoxc-", b64url, 10, 0}, {"xoxd-", b64url | base64Rest | tokenRest, 10, 0}, // Slack
	{"hooks.slack.com", 0, 20, address}, {"discord.com", 0, 40, address}, {"discordapp.com", 0, 40, address},
	{"webhook.office.com", 0, 40, address},
	{"sk_live_", alnum, 10, 0}, {"sk_test_", alnum, 10, 0}, {"rk_live_", alnum, 10, 0}, {"rk_test_", alnum, 10, 0},
	{"whsec_", alnum | base64Rest, 16, 0},                                                                     // Stripe
	{"AIza", b64url, 35, exact}, {"ya29.", ident, 20, 0}, {"GOCSPX-", b64url, 20, 0}, {"1//0", b64url, 40, 0}, // Google
	{"SK", digit | hexLetter, 32, exact | only},                    // Twilio; AC…, the account, is no secret
	{"SG.", ident, 50, exact}, {"xkeysib-", alnum | dashes, 40, 0}, // SendGrid, Brevo
	{"key-", digit | hexLetter, 32, only}, {"-us", digit, 1, suffix}, // Mailgun, Mailchimp
	{"npm_", alnum, 30, 0}, {"pypi-", b64url, 50, 0}, {"rubygems_", alnum, 40, 0}, {"dckr_pat_", b64url, 20, 0},
	{"sk-", b64url, 20, mixed}, {"sk-ant-", b64url, 20, 0}, {"sk-proj-", b64url, 20, 0}, // OpenAI, Anthropic
	{"gsk_", alnum, 30, 0}, {"xai-", alnum, 40, 0}, {"pplx-", alnum, 30, 0}, {"hf_", alnum, 30, 0},
	{"r8_", alnum, 30, 0}, {"ABSK", alnum | base64Rest | equals, 80, exact}, // Groq … Bedrock
	{"NRAK-", alnum, 20, 0}, {"NRJS-", alnum, 16, 0}, {"NRII-", b64url, 20, 0}, {"NRIQ-", b64url, 20, 0},
	{"NRRA-", alnum, 20, 0}, {"NRAL", alnum, 0, suffix | exact}, // New Relic
	{"ddapp_", alnum, 30, 0}, {"pub", digit | hexLetter, 32, only}, // Datadog
	{"AccountKey=", alnum | base64Rest | equals, 40, inside},
	{"SharedAccessKey=", alnum | base64Rest | equals, 40, inside},
	{"sig=", alnum | base64Rest | equals | tokenRest, 40, 0},                                               // Azure
	{"shpat_", alnum, 32, 0}, {"shpca_", alnum, 32, 0}, {"shppa_", alnum, 32, 0}, {"shpss_", alnum, 32, 0}, // Shopify
	{"sq0atp-", b64url, 22, 0}, {"sq0csp-", b64url, 40, 0}, {"EAAA", b64url, 50, exact | mixed}, // Square
	{"dop_v1_", alnum, 60, 0}, {"doo_v1_", alnum, 60, 0}, {"dor_v1_", alnum, 60, 0}, // DigitalOcean
	{"0:AA", b64url, 33, inside | exact}, {"bot ", 0, 0, segments}, {"discord", 0, 0, segments}, // Telegram, Discord
	{"hvs.", ident, 20, 0}, {"hvb.", ident, 20, 0}, {".atlasv1.", ident | equals, 50, inside}, // HashiCorp
	{"ATATT3", alnum | dashes | equals, 50, exact}, {"lin_api_", alnum, 30, 0}, {"ntn_", alnum, 30, 0},
	{"dapi", digit | hexLetter, 32, 0}, {"glc_", alnum | base64Rest | equals, 30, 0}, {"glsa_", b64url, 30, 0},
	{"dp.pt.", alnum, 30, 0}, {"PMAK-", b64url, 30, 0}, {"pul-", digit | hexLetter, 40, 0}, {"sbp_", alnum, 30, 0},
	{"figd_", b64url, 30, 0}, {"nfp_", alnum, 30, 0}, {"sntrys_", b64url | base64Rest | equals, 30, 0},
	{"sntryu_", alnum, 30, 0}, {"AGE-SECRET-KEY-1", alnum, 50, 0},
}

// literals are the prefix as the automaton sees it; of one that is in every
// second word, the prefix with each byte that may follow.
func (v vendor) literals() []string {
	folded := strings.Map(func(r rune) rune { return rune(foldByte(byte(r))) }, v.prefix)
	if len(folded) > 2 {
		return []string{folded}
	}
	var longer []string
	for _, c := range "0abcdef" {
		longer = append(longer, folded+string(c))
	}
	return longer
}

// vendorKey matches one of the vendors' forms around its literal.
func vendorKey(v vendor, b []byte, start int) (from, to int, ok bool) {
	end := start + len(v.prefix)
	if !hasFold(b, start, strings.ToLower(v.prefix)) && v.prefix != "0:AA" ||
		v.flags&exact != 0 && v.prefix != "0:AA" && string(b[start:end]) != v.prefix {
		return 0, 0, false // another digit, or case
	}
	switch {
	case v.prefix == "0:AA":
		return telegram(b, start, end)
	case v.flags&segments != 0:
		return discord(b, end)
	case v.flags&suffix != 0:
		return beforeSuffix(v, b, start, end)
	case v.flags&inside == 0 && !startsWord(b, start):
		return 0, 0, false
	case v.flags&address != 0:
		return webhook(b, end, v.least)
	}
	// What is refused was looked at only so far.
	least := b[:min(len(b), end+max(v.least+1, 64))]
	to = run(least, end, v.of)
	if to-end < v.least || v.flags&only != 0 && (to-end > v.least || !endsWord(b, to)) ||
		v.flags&mixed != 0 && !hasMixed(b[end:to]) {
		return 0, 0, false
	}
	return start, run(b, to, v.of), true
}

// hasMixed tells whether text has digits and letters of both cases: names that
// people give have not.
func hasMixed(text []byte) bool {
	var seen set
	for _, c := range text {
		seen |= sets[c]
		if seen&digit != 0 && seen&upper != 0 && seen&lower != 0 {
			return true
		}
	}
	return false
}

// telegram is 8 to 10 digits, a colon, and 35 more that begin with AA.
func telegram(b []byte, start, end int) (from, to int, ok bool) {
	colon := start + 1
	from = runBack(b, colon, max(0, colon-11), digit)
	to = run(b, end, b64url)
	return from, to, string(b[colon+1:end]) == "AA" && colon-from >= 8 && colon-from <= 10 && to-end >= 33
}

// discord is a bot's token soon after the word: 24 to 28, 6 and 27 or more of
// base64, with dots between.
func discord(b []byte, end int) (from, to int, ok bool) {
	for from = end; from < len(b) && from < end+24; from++ {
		if !is(b[from], alnum) || from > end && is(b[from-1], b64url) {
			continue
		}
		one := min(run(b[:min(len(b), from+40)], from, b64url), len(b))
		two := min(run(b[:min(len(b), one+20)], min(one+1, len(b)), b64url), len(b))
		if one-from < 23 || one-from > 28 || two-one-1 < 6 || two-one-1 > 7 || b[one] != '.' ||
			two >= len(b) || b[two] != '.' {
			continue
		}
		to = run(b, two+1, b64url)
		return from, to, to-two-1 >= 27
	}
	return 0, 0, false
}

// webhook is the path of an address that may be called by whoever knows it.
func webhook(b []byte, end, least int) (from, to int, ok bool) {
	from = end
	switch {
	case hasFold(b, from, `\/`):
		from += 2
	case hasFold(b, from, "%2f"):
		from += 3
	case hasFold(b, from, "/"):
		from++
	default:
		return 0, 0, false
	}
	for to = from; to < len(b) && (is(b[to], ident|base64Rest|equals|tokenRest) || hasFold(b, to, `\/`)); {
		to++
	}
	if to-from < least {
		return 0, 0, false
	}
	first := b[from:min(to, from+24)]
	for _, word := range []string{"webhook", "services", "workflows", "triggers"} {
		if indexFold(first, 0, word) >= 0 {
			return from, to, true
		}
	}
	return 0, 0, false
}

// beforeSuffix is New Relic's licence key, 36 and NRAL, or Mailchimp's, 32
// hexadecimal digits and the data centre.
func beforeSuffix(v vendor, b []byte, start, end int) (from, to int, ok bool) {
	if v.prefix == "NRAL" {
		from = withoutEscape(b, runBack(b, start, max(0, start-37), alnum))
		return from, end, start-from == 36 && endsWord(b, end)
	}
	from = withoutEscape(b, runBack(b, start, max(0, start-33), digit|hexLetter))
	to = run(b[:min(len(b), end+3)], end, digit)
	return from, to, start-from == 32 && to > end && startsWord(b, from) && endsWord(b, to)
}
