package main

// scheduleFaults starts everything that goes wrong by itself.
func (w *world) scheduleFaults() {
	o := w.options
	w.every(o.crashEvery, func() {
		s := w.servers[w.rng.IntN(len(w.servers))]
		switch {
		case w.chance(0.05): // the whole room loses power
			for _, s := range w.servers {
				if s.up {
					s.crash()
				}
			}
			for _, s := range w.servers {
				w.restartLater(s)
			}
		case s.up:
			s.crash()
			w.restartLater(s)
		}
	})
	w.every(o.cutEvery, w.network.recut)
	w.every(o.pauseEvery, func() {
		s := w.servers[w.rng.IntN(len(w.servers))]
		if s.up && s.paused <= w.now {
			w.pause(s, w.between(1, 2000)*millisecond)
		}
	})
	if o.transfers {
		w.every(300*millisecond, func() {
			for _, s := range w.servers {
				if s.up && s.paused <= w.now && s.replica.Transfer("") == nil {
					w.counts.Transfers++
					w.event(string(s.id), "transfer")
					s.turn()
				}
			}
		})
	}
}

// every lets something happen again and again until the world is healed, at
// random times with the given mean; 0 never.
func (w *world) every(mean int64, do func()) {
	if mean == 0 {
		return
	}
	w.after(w.between(mean/2, mean*3/2), func() {
		if !w.healed {
			do()
			w.every(mean, do)
		}
	})
}

func (w *world) restartLater(s *server) {
	life := s.life
	w.after(w.between(1, 1000)*millisecond, func() {
		if !w.healed && !s.up && s.life == life {
			s.start()
		}
	})
}

// pause stops a process for a while, as SIGSTOP or a long collection would.
func (w *world) pause(s *server, d int64) {
	w.counts.Pauses++
	w.event(string(s.id), "paused for %s", clock(d))
	life := s.life
	s.paused = w.now + d
	w.after(d, func() {
		if s.alive(life) && s.paused <= w.now {
			w.resume(s)
		}
	})
}

func (w *world) resume(s *server) {
	s.paused = 0
	backlog := s.backlog
	s.backlog = nil
	w.event(string(s.id), "resumed with %d inputs waiting", len(backlog))
	for _, do := range backlog {
		do()
	}
}

// heal ends all faults. A majority, or everybody, is started and stays up.
func (w *world) heal() {
	w.healed = true
	clear(w.network.cut)
	dead := 0
	if w.options.deadCore {
		dead = (len(w.servers) - 1) / 2
	}
	order := w.rng.Perm(len(w.servers))
	w.event("net", "healed; %d stay dead", dead)
	for n, i := range order {
		s := w.servers[i]
		switch {
		case n < dead && s.up:
			s.crash()
		case n < dead:
		case !s.up:
			s.start()
		case s.paused > 0:
			w.resume(s)
		}
	}
}

// atRest reports whether all that was asked for is done and everybody who is
// up has applied the same log to its end.
func (w *world) atRest() bool {
	for _, c := range w.clients {
		if !c.idle() {
			return false
		}
	}
	var last uint64
	leaders := 0
	for _, s := range w.servers {
		if !s.up {
			continue
		}
		o := s.replica.Observe()
		if o.LastApplied != o.LastIndex || o.Durable != o.LastIndex || s.store.AppliedIndex() != o.LastIndex {
			return false
		}
		if last == 0 {
			last = o.LastIndex
		}
		if o.LastIndex != last {
			return false
		}
		if o.Role.String() == "leader" {
			leaders++
		}
	}
	return leaders == 1
}
