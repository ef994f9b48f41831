"""An application for Flask's own session, and one line that says where that is."""
import caddy_session
from flask import Flask, redirect, render_template_string, request, session

app = Flask(__name__)
app.session_interface = caddy_session.SessionInterface()


@app.post("/add")
def add():
    cart = session.setdefault("cart", {})
    item = request.form["item"]
    cart[item] = cart.get(item, 0) + 1
    return redirect("./", 303)


@app.post("/in")
def sign_in():  # a real application checks a password
    session["user"] = request.form["user"]
    return redirect("./", 303)


@app.post("/out")
def sign_out():
    session.clear()
    return redirect("./", 303)


@app.get("/")
def page():
    return render_template_string("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Python</title>
<link rel="stylesheet" href="../style.css">
<main>
  <h1>Python</h1>
  <p>{% if session.user %}Hello, {{ session.user }}!{% else %}Nobody is signed in.{% endif %}</p>
  <ul>
    {% for item, count in session.get('cart', {}).items() %}<li>{{ item }} × {{ count }}</li>
    {% endfor %}
  </ul>
  <form method="post" action="add"><label>Item <input name="item" value="spoon" required></label> <button>Add</button></form>
  {% if session.user %}
  <form method="post" action="out"><button>Sign out</button></form>
  {% else %}
  <form method="post" action="in"><label>Name <input name="user" value="Carol" required></label> <button>Sign in</button></form>
  {% endif %}
</main>
""")
