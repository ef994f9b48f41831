# frozen_string_literal: true

require_relative 'helper'
require 'sinatra/base'
require 'rack-flash'
require 'warden'
require 'rack/session/caddy'

# Sinatra with its own protection, rack-flash and Warden, as they are.
class SinatraTest < Minitest::Test
  include Requests

  class Application < Sinatra::Base
    set :environment, :test
    set :host_authorization, {}
    set :raise_errors, true
    enable :sessions
    set :session_store, Rack::Session::Caddy
    set :protection, use: %i[authenticity_token session_hijacking]
    use Rack::Flash, sweep: true
    use Warden::Manager do |manager|
      manager.default_strategies :name
      manager.failure_app = self
    end

    Warden::Strategies.add(:name) do
      def authenticate!
        success!('id' => 7, 'name' => params['name'])
      end
    end

    # Caddy knows users by a string or a number.
    Warden::Manager.after_set_user { |user, warden, _| warden.raw_session[:user] = user['id'] }

    get('/token') { Rack::Protection::AuthenticityToken.token(session) }
    post('/token') { 'accepted' }
    get('/flash') { flash[:notice] = 'saved' }
    get('/message') { flash[:notice].to_s }
    get('/in') { env['warden'].authenticate!['name'] }
    get('/who') { env['warden'].user.to_s }
    get('/out') { env['warden'].logout }
    get('/clear') { session.clear }
    get '/late' do
      stream do |out|
        out << 'first'
        session[:late] = 1
      end
    end
  end

  # What each visitor's session has.
  STARTED = { 'tracking' => { 'HTTP_USER_AGENT' => 'browser' }, 'csrf' => SecureRandom.urlsafe_base64(32), '__FLASH__' => {} }.freeze

  def get(path, data = {}, **more)
    data = STARTED.merge(data) if data
    answer(Application, environment(data, path: path, HTTP_USER_AGENT: 'browser', **more))
  end

  def test_protection
    got = get('/message', nil)
    assert_equal STARTED.keys.sort, got.set.keys.sort
    refute_includes got.headers.keys.map(&:downcase), 'set-cookie'
    stolen = get('/message', { 'user' => 'alice' }, HTTP_USER_AGENT: 'thief')
    assert_equal 'clear', stolen.control
  end

  def test_csrf_token
    got = get('/token', nil)
    csrf = got.set
    post = { REQUEST_METHOD: 'POST' }
    accepted = get('/token', csrf, HTTP_X_CSRF_TOKEN: got.body, **post)
    assert_equal [200, 'accepted'], [accepted.status, accepted.body]
    dropped = get('/token', csrf, HTTP_X_CSRF_TOKEN: got.body.reverse, **post)
    assert_equal 'clear', dropped.control
  end

  def test_flash
    data = get('/flash').set
    assert_equal({ '__FLASH__' => { 'notice' => 'saved' } }, data)
    got = get('/message', data)
    assert_equal 'saved', got.body
    assert_equal({ '__FLASH__' => { 'notice' => nil } }, got.set)
  end

  def test_warden
    got = get('/in?name=alice')
    user = { 'id' => 7, 'name' => 'alice' }
    assert_equal 'alice', got.body
    assert_equal 'renew', got.control
    assert_equal({ 'warden.user.default.key' => user, 'user' => 7 }, got.set)
    who = get('/who', got.set)
    assert_equal user.to_s, who.body
    assert_empty who.asks
    out = get('/out', got.set)
    assert_equal 'clear', out.control
  end

  # Without enable :sessions, the middleware alone.
  def test_use
    application = Class.new(Sinatra::Base) do
      set :environment, :test
      set :host_authorization, {}
      use Rack::Session::Caddy
      get('/') { session[:visits] = session.fetch(:visits, 0) + 1; 'counted' }
    end
    assert_equal({ 'x-session-set' => '{"visits":1}' }, answer(application, environment(nil)).asks)
    assert_equal({ 'visits' => 2 }, answer(application, environment({ 'visits' => 1 })).set)
  end

  def test_stream
    assert_match(/session\["late"\] was changed after the response had begun/, get('/late').errors)
  end
end
