package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/tests/virtual"
)

// fullDisk takes so many bytes and then refuses, until it is given more room.
type fullDisk struct {
	text bytes.Buffer
	room int
}

func (d *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), d.room)
	d.room -= n
	d.text.Write(b[:n])
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// Goal (S14): a line of which only a part fits on a full disk costs no other line: those
// before and behind it can be read, and it alone counts as lost. Method: disks that are full
// at many bytes of the second line, for one line and for two, and then have room.
func TestAHalfLineOfTheAuditSpoilsNoOther(t *testing.T) {
	first := len(mustLine(t, Line{Action: "1"}))
	for lost := 1; lost <= 2; lost++ {
		for _, room := range []int{first, first + 1, first + 2, first + 40, 2*first - 2, 2*first - 1} {
			virtual.Time(t, func(t *testing.T) {
				disk := &fullDisk{room: room}
				a := NewAudit(AuditConfig{To: disk})
				put := func(action string) {
					if err := a.Reserve(); err != nil {
						t.Fatal(err)
					}
					a.Put(Line{Action: action})
					synctest.Wait()
				}
				put("1")
				for range lost {
					put("2")
				}
				disk.room = 1 << 20
				put("3")
				put("4")
				a.Close()
				read := ""
				for text := range strings.SplitSeq(disk.text.String(), "\n") {
					var l Line
					if json.Unmarshal([]byte(text), &l) == nil {
						read += l.Action
					}
				}
				// With room for all but the end of the line, the line is whole and counts as lost.
				if read = strings.ReplaceAll(read, "2", ""); read != "134" || a.Lost() != uint64(lost) {
					t.Errorf("room for %d bytes: the lines %q can be read, %d are lost:\n%s", room, read, a.Lost(), disk.text.String())
				}
			})
		}
	}
}

func mustLine(t *testing.T, l Line) []byte {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}
