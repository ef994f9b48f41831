package history

import "fmt"

// state is the model of one session, which a child could check.
type state struct {
	token string // the current one; "" before its birth and after its end
	born  bool
	Contents
}

// step reports whether the operation can have had the outcome it had, and the
// state after it. One with an unknown outcome has its effect here; that it
// never had one is the same as that it will have it when nobody looks any more.
func (s state) step(o *Operation) (bool, state) {
	current := s.token != "" && s.token == o.Token
	switch o.Kind {
	case Create:
		return !s.born, state{token: o.Token, born: true, Contents: *o.Saw}
	case Read:
		if !current {
			return o.Saw == nil, s
		}
		return o.Saw != nil && *o.Saw == s.Contents, s
	case Destroy:
		s.token = ""
		return true, s
	case revoked:
		if s.User == o.User {
			s.token = ""
		}
		return true, s
	}

	// The rest happens to the session whose token was presented, at the version
	// that was asked for, or not at all.
	if holds := current && s.Version == o.Version; o.Version != 0 && !holds {
		return o.Outcome != Done, s
	} else if o.Version != 0 && o.Outcome == Refused {
		return false, s
	}
	if !current {
		return o.Next == "", s // dropped
	}
	if o.Kind == Revoke {
		return true, s
	}
	s.Version++
	renews := o.Kind == Renew || o.Kind == SignOut || o.Kind == SignIn && s.User == ""
	if o.Outcome == Done && renews != (o.Next != "") {
		return false, s
	}
	switch o.Kind {
	case Set:
		s.Values[o.Key] = o.Value
	case SignIn:
		s.User = o.User
	}
	switch {
	case o.Kind == SignOut:
		s.token = ""
	case renews && o.Next == "": // nobody will ever have it
		s.token = fmt.Sprintf("lost with #%d", o.Number)
	case renews:
		s.token = o.Next
	}
	return true, s
}
