# frozen_string_literal: true

# An application for Rack's own sessions, in which one line is different: it had
# Rack::Session::Cookie.
require 'sinatra'
require 'rack/session/caddy'

use Rack::Session::Caddy

post '/add' do
  cart = session[:cart] ||= {}
  cart[params[:item]] = cart.fetch(params[:item], 0) + 1
  see_page
end

post '/in' do # a real application checks a password
  session[:user] = params[:user]
  see_page
end

post '/out' do
  session.clear
  see_page
end

get '/' do
  erb :page
end

helpers do
  def see_page
    [303, { 'Location' => './' }, []] # redirect makes the address of its site's root
  end

  def h(text)
    Rack::Utils.escape_html(text)
  end
end

__END__

@@ page
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Ruby</title>
<link rel="stylesheet" href="../style.css">
<main>
  <h1>Ruby</h1>
  <p><%= session[:user] ? "Hello, #{h session[:user]}!" : 'Nobody is signed in.' %></p>
  <ul>
    <% session.fetch(:cart, {}).each do |item, count| %>
    <li><%= h item %> × <%= count %></li>
    <% end %>
  </ul>
  <form method="post" action="add"><label>Item <input name="item" value="sugar" required></label> <button>Add</button></form>
  <% if session[:user] %>
  <form method="post" action="out"><button>Sign out</button></form>
  <% else %>
  <form method="post" action="in"><label>Name <input name="user" value="Dave" required></label> <button>Sign in</button></form>
  <% end %>
</main>
