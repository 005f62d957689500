package core

// JoinIDs writes IDs one after the other, with a separator between them.
func JoinIDs(ids []ID, separator string) string {
	var text []byte
	for i, id := range ids {
		if i > 0 {
			text = append(text, separator...)
		}
		text = append(text, id...)
	}
	return string(text)
}
