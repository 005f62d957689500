package live

import "reflect"

// diff returns the merge patch (RFC 7396) that makes now out of old: objects by their
// fields, everything else as a whole, null for what is gone. Neither holds nulls.
func diff(old, now map[string]any) map[string]any {
	patch := map[string]any{}
	for name, value := range now { // the patch is an object, too
		before, had := old[name]
		inner, isObject := value.(map[string]any)
		was, wasObject := before.(map[string]any)
		switch {
		case isObject && wasObject:
			if changed := diff(was, inner); len(changed) > 0 {
				patch[name] = changed
			}
		case !had || !reflect.DeepEqual(before, value):
			patch[name] = value
		}
	}
	for name := range old { // likewise
		if _, has := now[name]; !has {
			patch[name] = nil
		}
	}
	return patch
}

// strip removes the fields that are null, which a patch cannot hold. Nulls in lists stay:
// lists are sent as a whole.
func strip(o map[string]any) {
	for name, value := range o {
		switch value := value.(type) {
		case nil:
			delete(o, name)
		case map[string]any:
			strip(value)
		}
	}
}
