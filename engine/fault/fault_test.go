package fault

import "testing"

func TestEveryCodeHasItsOwnText(t *testing.T) {
	seen := map[string]bool{}
	for code := Argument; code >= Range; code-- {
		text := code.Error()
		if text == "" || seen[text] {
			t.Fatal("no text of its own", int(code))
		}
		seen[text] = true
	}
	if len(seen) != len(texts) {
		t.Fatal("codes have gaps")
	}
}
