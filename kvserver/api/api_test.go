package api

import (
	"encoding/json"
	"testing"
)

// Goal: any key survives a JSON body.
// Method: every single byte, text, and text cut in the middle of a character.
func TestKeysSurviveJSON(t *testing.T) {
	keys := []string{"greeting", "ä/ö", "\xc3", "a\xc3", "\x00", "\"\\", "<&>\u2028", "\xef\xbf\xbd"}
	for b := range 256 {
		keys = append(keys, string([]byte{byte(b)}))
	}
	for _, key := range keys {
		body, err := json.Marshal(Appended{Written: Written{KeyName: NameKey(key), Revision: 3, Version: 2}, Length: 1})
		if err != nil {
			t.Fatal(err)
		}
		var got Appended
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if got.Name() != key || got.Revision != 3 || got.Length != 1 {
			t.Errorf("%q came back as %q from %s", key, got.Name(), body)
		}
		if got.Key != "" && got.KeyBase64 != nil {
			t.Errorf("%q is named twice: %s", key, body)
		}
	}
}
