package e2e

import "testing"

var djangoAdmin = webApp{
	name:  "Django's admin",
	lines: "pass csrftoken",
	start: func(t *testing.T) string { return "reverse_proxy " + django(t) },
	form:  "/admin/",
	submit: func(b *browser) bool {
		return b.submit("input[type=submit]", "#id_username", "alice", "#id_password", "secret")
	},
	signedIn: djangoSignedIn,
	steps: []step{
		{"forms", func(b *browser, origin string) bool {
			b.open(origin + "/admin/auth/group/add/")
			name := "group of " + origin
			return b.submit("input[name=_save]", "#id_name", name) && b.shows("was added successfully") && b.shows(name)
		}},
		{"scripts", func(b *browser, origin string) bool {
			// As Django's manual has scripts do it.
			return b.script(`(() => {
				const token = document.cookie.split('; ').find(c => c.startsWith('csrftoken='))
				return fetch('/admin/auth/group/add/', {method: 'POST', body: new URLSearchParams({name: 'script ' + location.origin}),
					headers: {'X-CSRFToken': token ? token.slice(10) : ''}}).then(r => r.ok)
			})()`) == "true"
		}},
		{"sign-out", func(b *browser, origin string) bool {
			b.open(origin + "/admin/logout/")
			return !djangoSignedIn(b, origin)
		}},
	},
}

func djangoSignedIn(b *browser, origin string) bool {
	b.open(origin + "/admin/")
	return b.has("a[href='/admin/logout/']")
}
