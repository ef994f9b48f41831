# frozen_string_literal: true

# An application of Sinatra and one of Rails, with the sessions of their frameworks.

require 'json'
require 'logger'
require 'time'
require 'sinatra/base'
require 'rack-flash'
require 'action_controller/railtie'
require 'rack/session/caddy'

# Puma ends when the test does.
Thread.new do
  $stdin.read
  Process.kill(:TERM, Process.pid)
end

# Where twenty requests wait until all of them have read their sessions.
class Barrier
  PARTIES = 20

  def initialize
    @lock = Mutex.new
    @all = ConditionVariable.new
    @waiting = 0
  end

  def wait
    @lock.synchronize do
      @waiting += 1
      return @all.broadcast if (@waiting % PARTIES).zero?

      round = @waiting / PARTIES
      @all.wait(@lock, 60) while @waiting / PARTIES == round
    end
  end
end
BARRIER = Barrier.new

class SinatraApplication < Sinatra::Base
  set :environment, :production
  set :host_authorization, {}
  enable :sessions
  set :session_store, Rack::Session::Caddy
  use Rack::Flash
  set :flash_app_class, self

  get('/') { JSON.generate(session.to_hash) }

  get '/set' do
    cart = session[:cart] ||= {}
    BARRIER.wait if params[:wait]
    session["sinatra-#{params[:key]}"] = 1
    cart["sinatra-#{params[:key]}"] = 1
    'set'
  end

  get '/in' do
    session[:user] = params[:name]
    flash[:notice] = "Grüß Gott, #{params[:name]}"
    redirect to('/hello')
  end

  get('/hello') { "#{session[:user]}: #{flash[:notice]}" }

  get('/out') { session.clear }

  get '/option' do
    session[:changed] = true
    value = params[:value] ? params[:value].to_i : true
    request.session_options[params[:name].to_sym] = value
    session.id.public_id
  end

  get('/time') { session[:at] = { now: Time.now } }

  get '/late' do
    stream do |out|
      out << 'first'
      session['too-late'] = 1
      out << ' last'
    end
  end
end

# What an application does with the session API.
class APIApplication < Sinatra::Base
  set :environment, :production
  set :host_authorization, {}
  use Rack::Session::Caddy

  PENDING = Queue.new

  get('/large') { session[:large] = 'x' * params[:size].to_i; 'set' }

  get '/save-large' do
    session[:large] = 'x' * params[:size].to_i
    session.save
    'saved'
  end

  get('/length') { session[:large].to_s.length.to_s }

  # Has no response before another request asks for it.
  get '/pending' do
    session[:n] = 1
    session.save
    PENDING.pop
    session.reload
    session.to_hash.slice('n', 'other').to_s
  end

  get '/release' do
    n = session[:n]
    session[:other] = 2
    session.save
    PENDING << true
    n.to_s
  end

  get '/late' do
    session[:early] = 1
    stream do |out|
      out << 'first'
      session[:late] = { nested: nil }
      session.delete(:large)
      out << ' last'
    end
  end

  get '/late-begin' do
    stream do |out|
      out << ' ' * 100_000
      PENDING.pop
      session[:begun] = 1
    end
  end

  get('/count') { session.with_lock(wait: 20) { session[:count] = session.fetch(:count, 0) + 1 }.to_s }

  get '/in' do
    session.clear
    session[:user] = 'alice'
    session.save
    session.id.public_id
  end
end

class RailsApplication < Rails::Application
  config.eager_load = false
  config.hosts.clear
  config.logger = Logger.new($stderr)
  config.log_level = :error
  config.secret_key_base = 'for tests'
  config.session_store :caddy_store, key: '_application'
  config.action_controller.default_protect_from_forgery = true
end

class PagesController < ActionController::Base
  def data
    render json: session.to_hash
  end

  def set
    cart = session[:cart] ||= {}
    BARRIER.wait if params[:wait]
    session["rails-#{params[:key]}"] = 1
    cart["rails-#{params[:key]}"] = 1
    head :ok
  end

  def sign_in
    reset_session
    session[:user] = params[:name]
    redirect_to '/rails/hello', notice: "Grüß Gott, #{params[:name]}"
  end

  def hello
    render plain: "#{session[:user]}: #{flash.notice}"
  end

  def sign_out
    reset_session
    head :ok
  end

  def token
    render plain: form_authenticity_token
  end

  def post
    render plain: 'accepted'
  end

  def late
    headers['Last-Modified'] = Time.now.httpdate # otherwise Rack::ETag reads it all
    self.response_body = Enumerator.new do |out|
      out << 'first'
      session['too-late'] = 1
      out << ' last'
    end
  end

  # Changes the same key before the head of the response and after.
  def twice
    headers['Last-Modified'] = Time.now.httpdate
    session[:twice] = 1
    self.response_body = Enumerator.new do |out|
      out << 'first'
      session[:twice] = 2
      out << ' last'
    end
  end
end

RailsApplication.initialize!
RailsApplication.routes.draw do
  root to: 'pages#data'
  (PagesController.action_methods - ['data']).each { |action| match action, to: "pages##{action}", via: %i[get post] }
end

map('/api') { run APIApplication }
map('/sinatra') { run SinatraApplication }
map('/rails') { run RailsApplication }
