package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits of rules.
const (
	// MaxRules is how many rules an identity may have, so that a decision costs at most
	// a microsecond.
	MaxRules = 32
	// MaxTextBytes is the length of the longest prefix or key in a rule.
	MaxTextBytes = 1024
	// maxRulesBytes bounds the texts of one identity's rules together.
	maxRulesBytes = 32 << 10
)

// Rule grants rights on one prefix, on one key, or on the system.
type Rule struct {
	Space Space
	// Single: the rule is about the key Text alone, and not about all that begins with
	// it.
	Single bool
	Text   string
	Rights Rights
}

// Decide reports whether rules grant a right on a range. It is the one function that
// decides. It allocates nothing and takes less than a microsecond.
func Decide(rules []Rule, right Right, r Range) bool {
	if right == Open || right == Known {
		return true
	}
	return Granting(rules, right, r) != nil
}

// Granting returns the rule that grants a right on a range, nil if none does.
func Granting(rules []Rule, right Right, r Range) *Rule {
	for i := range rules {
		if rules[i].grants(right, &r) {
			return &rules[i]
		}
	}
	return nil
}

// grants reports whether this rule alone grants a right on all of a range.
func (rule *Rule) grants(right Right, r *Range) bool {
	switch {
	case rule.Rights.Has(Admin):
		return true
	case !rule.Rights.Has(right):
		return false
	case right == Lease, rule.Space == System:
		return true
	}
	return rule.Space == r.space && r.within(rule)
}

// check says what keeps a rule from being one.
func (rule *Rule) check() error {
	switch {
	case rule.Space > spaceMax:
		return fmt.Errorf("a rule is about the space %d, which is not known", rule.Space)
	case rule.Rights == 0:
		return errors.New("a rule grants nothing; name at least one right")
	case rule.Rights&^rule.Space.rights() != 0:
		return fmt.Errorf("a rule %s cannot grant %s; it can grant %s", rule.Space.ofRule(), rule.Rights&^rule.Space.rights(), rule.Space.rights())
	case len(rule.Text) > MaxTextBytes:
		return fmt.Errorf("a rule has a text of %d bytes; the longest may have %d", len(rule.Text), MaxTextBytes)
	case rule.Single && (rule.Text == "" || rule.Space != Keys):
		return errors.New("a rule names an empty key")
	case rule.Space == System && rule.Text != "":
		return errors.New("a rule on the system takes no prefix")
	}
	return nil
}

// covers reports whether rules grant all that one rule does, so that their owner may
// pass it on.
func covers(rules []Rule, rule *Rule) bool {
	r := Range{space: rule.Space, one: rule.Single, from: rule.Text, end: following(rule.Text)}
	for _, right := range rule.Rights.list() {
		if right == Admin && !isAdmin(rules) || !Decide(rules, right, r) {
			return false
		}
	}
	return true
}

// coversAll is covers for many rules.
func coversAll(rules, all []Rule) bool {
	for i := range all {
		if !covers(rules, &all[i]) {
			return false
		}
	}
	return true
}

// isAdmin reports whether rules grant everything.
func isAdmin(rules []Rule) bool {
	for i := range rules {
		if rules[i].Rights.Has(Admin) {
			return true
		}
	}
	return false
}

// ruleJSON is a rule as people write it. Exactly one of the texts is given, or none for
// rights on the system.
type ruleJSON struct {
	Prefix       *string  `json:"prefix,omitempty"`
	PrefixBase64 *string  `json:"prefix_base64,omitempty"`
	Key          *string  `json:"key,omitempty"`
	KeyBase64    *string  `json:"key_base64,omitempty"`
	Lock         *string  `json:"lock,omitempty"`
	Rights       []string `json:"rights"`
}

// MarshalJSON writes the rule as people write it.
func (rule Rule) MarshalJSON() ([]byte, error) {
	j := ruleJSON{Rights: rule.Rights.Names()}
	plain, coded := &j.Prefix, &j.PrefixBase64
	if rule.Single {
		plain, coded = &j.Key, &j.KeyBase64
	}
	switch {
	case rule.Space == Locks:
		j.Lock = &rule.Text
	case rule.Space == System:
	case utf8.ValidString(rule.Text):
		*plain = &rule.Text
	default:
		text := base64.StdEncoding.EncodeToString([]byte(rule.Text))
		*coded = &text
	}
	return json.Marshal(j)
}

// unreadable says in the words of a rule why the decoder of JSON refuses one.
func unreadable(err error) error {
	wrong := (*json.UnmarshalTypeError)(nil)
	switch {
	case errors.As(err, &wrong) && strings.HasPrefix(wrong.Field, "rights"):
		return fmt.Errorf("the rights of a rule are a %s; they must be a list of names, such as [\"read\",\"list\"]", wrong.Value)
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("the %s of a rule is a %s; it must be a string", wrong.Field, wrong.Value)
	case errors.As(err, &wrong):
		return fmt.Errorf("a rule is a %s; it must be an object such as {\"prefix\":\"orders/\",\"rights\":[\"read\"]}", wrong.Value)
	}
	return fmt.Errorf("a rule cannot be read: %s; its fields are prefix, prefix_base64, key, key_base64, lock and rights", strings.TrimPrefix(err.Error(), "json: "))
}

// UnmarshalJSON reads a rule and refuses what it does not know: a field that is
// ignored might have been a restriction.
func (rule *Rule) UnmarshalJSON(text []byte) error {
	var j ruleJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return unreadable(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows a rule")
	}
	*rule = Rule{}
	given := 0
	for _, t := range []struct {
		text          *string
		space         Space
		single, coded bool
	}{
		{j.Prefix, Keys, false, false}, {j.PrefixBase64, Keys, false, true},
		{j.Key, Keys, true, false}, {j.KeyBase64, Keys, true, true}, {j.Lock, Locks, false, false},
	} {
		if t.text == nil {
			continue
		}
		given++
		rule.Space, rule.Single, rule.Text = t.space, t.single, *t.text
		if t.coded {
			b, err := base64.StdEncoding.Strict().DecodeString(*t.text)
			if err != nil {
				return fmt.Errorf("a rule's base64 cannot be read: %w", err)
			}
			rule.Text = string(b)
		}
	}
	if given > 1 {
		return errors.New("a rule has several of prefix, key and lock; give one, or none for rights on the system")
	}
	for _, name := range j.Rights {
		right, err := ParseRight(name)
		if err != nil {
			return err
		}
		rule.Rights |= RightsOf(right)
	}
	return rule.check()
}
