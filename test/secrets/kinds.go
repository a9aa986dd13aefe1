package secrets

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
)

// Kinds are the kinds of secrets that Cases plants: those that a default policy
// must find, by the names of process/redact's detectors.
func Kinds() []string {
	return []string{"aws_access_key", "aws_secret_key", "bearer", "basic", "jwt", "private_key", "credit_card", "iban",
		"email", "us_ssn", "api_key", "url_password", "key"}
}

// secret makes one of a kind, and what must stand before it for anybody to know it.
func (d dice) secret(kind string) (lead, secret string) {
	switch kind {
	case "aws_access_key":
		return "", pick(d, []string{"AKIA", "ASIA"}) + d.of(base32, 16)
	case "aws_secret_key":
		return pick(d, []string{"aws secret ", "Secret key is ", "AKIA" + d.of(base32, 16) + " ", "aws_secret_access_key "}),
			d.of(base64s, 40)
	case "bearer":
		return d.mixed("bearer") + pick(d, []string{" ", "  ", ": ", "="}), d.of(base64us+".~", 16+d.IntN(60))
	case "basic":
		pair := d.of(lowers, 5) + ":" + d.of(alnum+"!?", 9)
		return d.mixed("basic") + " ", base64.StdEncoding.EncodeToString([]byte(pair))
	case "jwt":
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`))
		claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"` + d.of(digits, 10) + `","name":"Ann"}`))
		return "", head + "." + claims + "." + d.of(base64us, 43)
	case "private_key":
		return "", d.pem()
	case "credit_card":
		return "", d.card()
	case "iban":
		return "", d.iban()
	case "email":
		return "", d.of(lowers, 5) + pick(d, []string{".", "+", "_", ""}) + d.of(lowers+digits, 4) + "@" +
			pick(d, []string{"example.com", "mail.example.org", "xn--bcher-kva.example", "EXAMPLE.CO.UK", "bücher.de"})
	case "us_ssn":
		return "", fmt.Sprintf("%03d-%02d-%04d", 1+d.IntN(665), 1+d.IntN(99), 1+d.IntN(9999))
	case "url_password":
		return pick(d, []string{"postgres", "mysql", "amqp", "redis", "https", "mongodb+srv"}) + "://app:",
			d.of(alnum+"!$*-_", 12) + "@db.internal:5432/shop"
	}
	return d.apiKey()
}

// pem is a private key of a random size; sometimes it is cut.
func (d dice) pem() string {
	name := pick(d, []string{"RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY",
		"ENCRYPTED PRIVATE KEY"})
	lines := []string{"-----BEGIN " + name + "-----"}
	for range 2 + d.IntN(20) {
		lines = append(lines, d.of(base64s, 64))
	}
	lines = append(lines, d.of(base64s, 30)+"==", "-----END "+name+"-----")
	if d.IntN(4) == 0 {
		lines = lines[1:] // its first line was in the record before
	}
	return strings.Join(lines, "\n")
}

// card is a number with a check digit, of each network, in groups or not.
func (d dice) card() string {
	network := pick(d, []struct {
		prefix string
		groups []int
	}{
		{"4", []int{4, 4, 4, 4}}, {"51", []int{4, 4, 4, 4}}, {"2221", []int{4, 4, 4, 4}}, {"37", []int{4, 6, 5}},
		{"6011", []int{4, 4, 4, 4}}, {"3530", []int{4, 4, 4, 4}}, {"36", []int{4, 6, 4}}, {"62", []int{4, 4, 4, 4}},
	})
	length := 0
	for _, n := range network.groups {
		length += n
	}
	number := []byte(network.prefix + d.of(digits, length-len(network.prefix)))
	for last := byte('0'); last <= '9'; last++ {
		number[length-1] = last
		sum := 0
		for i := range number {
			v := int(number[length-1-i] - '0')
			if i%2 == 1 {
				v = v*2/10 + v*2%10
			}
			sum += v
		}
		if sum%10 == 0 {
			break
		}
	}
	separator := pick(d, []string{"", "", " ", "-"})
	var groups []string
	for _, n := range network.groups {
		groups = append(groups, string(number[:n]))
		number = number[n:]
	}
	return strings.Join(groups, separator)
}

// iban has the check digits of ISO 7064, and groups of four or none.
func (d dice) iban() string {
	country := pick(d, []struct {
		name  string
		form  string // of the rest: A a letter, 0 a digit
		total int
	}{
		{"DE", "000000000000000000", 22}, {"GB", "AAAA00000000000000", 22}, {"FR", "00000000000000000000000", 27},
		{"NL", "AAAA0000000000", 18}, {"CH", "00000000000000000", 21}, {"ES", "00000000000000000000", 24},
		{"NO", "00000000000", 15}, {"PL", "000000000000000000000000", 28},
	})
	rest := strings.Map(func(r rune) rune {
		if r == 'A' {
			return rune(uppers[d.IntN(26)])
		}
		return rune(digits[d.IntN(10)])
	}, country.form)
	var number strings.Builder
	for _, r := range rest + country.name + "00" {
		if r >= 'A' {
			fmt.Fprint(&number, int(r-'A')+10)
			continue
		}
		number.WriteRune(r)
	}
	value, _ := new(big.Int).SetString(number.String(), 10)
	text := fmt.Sprintf("%s%02d%s", country.name, 98-new(big.Int).Mod(value, big.NewInt(97)).Int64(), rest)
	if d.IntN(2) == 0 {
		var groups []string
		for len(text) > 4 {
			groups, text = append(groups, text[:4]), text[4:]
		}
		text = strings.Join(append(groups, text), " ")
	}
	return text
}

// apiKey is a key of one of the vendors; what makes it an address is no secret.
func (d dice) apiKey() (lead, secret string) {
	v := pick(d, [][2]string{
		{"", "ghp_" + d.of(alnum, 36)}, {"", "gho_" + d.of(alnum, 36)},
		{"", "github_pat_" + d.of(alnum, 22) + "_" + d.of(alnum, 59)}, {"", "glpat-" + d.of(base64us, 20)},
		{"", "xoxb-" + d.of(digits, 12) + "-" + d.of(digits, 12) + "-" + d.of(alnum, 24)},
		{"https://hooks.slack.com/services/", "T" + d.of(uppers+digits, 8) + "/B" + d.of(uppers+digits,
			8) + "/" + d.of(alnum, 24)},
		{"https://discord.com/api/webhooks/", d.of(digits, 18) + "/" + d.of(base64us, 68)},
		{"Authorization: Bot ", "M" + d.of(alnum, 23) + "." + d.of(base64us, 6) + "." + d.of(base64us, 38)},
		{"", "sk_live_" + d.of(alnum, 24)}, {"", "rk_test_" + d.of(alnum, 24)}, {"", "whsec_" + d.of(alnum, 32)},
		{"", "AIza" + d.of(base64us, 35)}, {"", "ya29." + d.of(base64us, 60)}, {"", "GOCSPX-" + d.of(base64us, 28)},
		{"", "SK" + d.of(hexes, 32)}, {"", "SG." + d.of(base64us, 22) + "." + d.of(base64us, 43)},
		{"", "key-" + d.of(hexes, 32)}, {"", d.of(hexes, 32) + "-us12"}, {"", "npm_" + d.of(alnum, 36)},
		{"", "pypi-AgEIcHlwaS5vcmc" + d.of(base64us, 70)}, {"", "sk-" + d.of(alnum, 48)},
		{"", "sk-proj-" + d.of(base64us, 70)}, {"", "sk-ant-api03-" + d.of(base64us, 93)},
		{"", "NRAK-" + d.of(uppers+digits, 27)}, {"", d.of(hexes, 36) + "NRAL"},
		{"AccountName=shop;AccountKey=", d.of(base64s, 86) + "=="}, {"", "shpat_" + d.of(hexes, 32)},
		{"", "sq0atp-" + d.of(base64us, 22)}, {"", "dop_v1_" + d.of(hexes, 64)},
		{"", d.of(digits, 10) + ":AA" + d.of(base64us, 33)}, {"", "hf_" + d.of(alnum, 34)},
		{"", "hvs." + d.of(base64us, 24)},
	})
	return v[0], v[1]
}
