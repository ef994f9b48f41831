# frozen_string_literal: true

require_relative 'helper'
require 'logger'
require 'action_controller/railtie'
require 'rack/session/caddy'

# Rails with what it has of its own: the flash, protection from forgery, reset_session.
class RailsTest < Minitest::Test
  include Requests

  class Application < Rails::Application
    config.eager_load = false
    config.consider_all_requests_local = true
    config.action_dispatch.show_exceptions = Rails.gem_version < Gem::Version.new('7.1') ? false : :none
    config.hosts.clear
    config.logger = Logger.new(nil)
    config.secret_key_base = 'for tests'
    config.session_store :caddy_store, key: '_app', expire_after: 3600
    config.action_controller.default_protect_from_forgery = true
  end

  class PagesController < ActionController::Base
    def read
      render plain: session[:user].to_s
    end

    def unused
      render plain: "#{session.loaded?} #{session.exists? ? true : false}"
    end

    def write
      session[:user] = 'alice'
      (session[:cart] ||= {})[:a] = 1
      render plain: session.id.public_id
    end

    def sign_in
      reset_session
      session[:user] = 'bob'
      render plain: session.id.public_id
    end

    def sign_out
      reset_session
      redirect_to '/pages/read', notice: params[:notice]
    end

    def clear
      session.clear
      render plain: "#{session.id.public_id} #{session[:session_id]} #{session.to_hash}"
    end

    def drop
      request.session_options[params[:option].to_sym] = true
      session[:n] = 1
      head :ok
    end

    def flash_message
      flash[:notice] = 'saved'
      flash.now[:alert] = 'only now'
      redirect_to '/pages/message'
    end

    def message
      render plain: "#{flash.notice} #{flash[:alert]}"
    end

    def html
      session[:html] ||= '<b>'.html_safe
      render plain: ERB::Util.html_escape(session[:html]) # as views do
    end

    def token
      render plain: form_authenticity_token
    end

    def time
      session[:at] = 5.minutes.ago
      head :ok
    end

    def duration
      session[:for] = { cart: 5.minutes }
      head :ok
    end

    def late
      headers['Last-Modified'] = Time.now.httpdate # otherwise Rack::ETag reads it all
      self.response_body = Enumerator.new do |out|
        out << 'first'
        session[:late] = 1
      end
    end
  end

  class APIController < ActionController::Base
    def save
      session[:n] += 1
      session.save
      render plain: "#{session.id.public_id} #{session.exists?}"
    end

    def reset
      reset_session
      session[:n] = 1
      session.save
      render plain: "#{session.id.public_id} #{session[:n]}"
    end

    def reload
      session[:n] = 0
      render plain: "#{session.reload[:n]} #{session.with_lock { session[:n] += 1 }}"
    end

    def token
      token = form_authenticity_token
      session.save
      render plain: token
    end
  end

  class LiveController < ActionController::Base
    include ActionController::Live

    RECEIVED = Queue.new

    def late
      response.headers['Last-Modified'] = Time.now.httpdate # otherwise Rack::ETag reads it all
      session[:early] = 1
      response.stream.write('first')
      RECEIVED.pop
      session[:late] = 1
      response.stream.write(' last')
    ensure
      response.stream.close
    end
  end

  Application.initialize!
  Application.routes.draw do
    { pages: PagesController, api: APIController, live: LiveController }.each do |name, controller|
      controller.action_methods.each { |action| match "/#{name}/#{action}", to: "rails_test/#{name}##{action}", via: :all }
    end
  end
  ActiveSupport::Inflector.inflections { |inflect| inflect.acronym('API') }

  def get(action, data = {}, **more)
    answer(Application, environment(data, path: "/pages/#{action}", HTTP_HOST: 'localhost', **more))
  end

  def test_begins_and_reads
    got = get('write', nil)
    assert_equal NEW_ID, got.body
    assert_equal({ 'user' => 'alice', 'cart' => { 'a' => 1 } }, got.set)
    assert_equal 'max-age=3600', got.control
    refute_includes got.headers.keys.map(&:downcase), 'set-cookie'
    got = get('read', got.set)
    assert_equal 'alice', got.body
    assert_empty got.asks
    assert_equal({ 'cart' => { 'a' => 1 } }, get('write', { 'user' => 'alice', 'cart' => { 'b' => 1 } }).set)
  end

  def test_unused
    got = get('unused', 'not JSON')
    assert_equal 'false true', got.body
    assert_empty got.asks
    assert_equal 'false false', get('unused', nil).body
  end

  # Rails shows no nil; what others keep is theirs.
  def test_nil
    assert_equal({ 'user' => 'alice', 'cart' => { 'a' => 1 } }, get('write', { 'theirs' => nil }).set)
  end

  def test_reset_session
    got = get('sign_in', { 'user' => 'alice', 'n' => 1 })
    assert_equal NEW_ID, got.body
    assert_equal ['clear, max-age=3600', { 'user' => 'bob' }], [got.control, got.set]
    assert_equal({ 'x-session-control' => 'destroy' }, get('sign_out', { 'user' => 'alice' }).asks)
    got = get('sign_out?notice=bye', { 'user' => 'alice' })
    assert_equal ['clear, max-age=3600', 'bye'], [got.control, got.set.dig('flash', 'flashes', 'notice')]
  end

  def test_clear
    got = get('clear', { 'user' => 'alice' })
    assert_equal "#{NEW_ID} #{NEW_ID} {}", got.body
    assert_equal({ 'x-session-control' => 'clear' }, got.asks)
  end

  def test_options
    assert_equal({ 'x-session-control' => 'destroy' }, get('drop?option=drop').asks)
    assert_equal 'renew, max-age=3600', get('drop?option=renew').control
    assert_empty get('drop?option=skip').asks
    assert_empty get('drop?option=defer', nil).asks
  end

  def test_flash
    got = get('flash_message', nil)
    assert_equal({ 'flash' => { 'discard' => [], 'flashes' => { 'notice' => 'saved' } } }, got.set)
    got = get('message', got.set)
    assert_equal 'saved ', got.body
    assert_equal({ 'flash' => nil }, got.set)
  end

  def test_html_safe
    got = get('html')
    assert_equal ['<b>', { 'html' => '<b>' }], [got.body, got.set]
    assert_equal '&lt;b&gt;', get('html', got.set).body
  end

  def test_forgery
    got = get('token', nil)
    assert_equal %w[_csrf_token], got.set.keys
    post = { REQUEST_METHOD: 'POST' }
    assert_equal 'alice', get('read', got.set.merge('user' => 'alice'), HTTP_X_CSRF_TOKEN: got.body, **post).body
    assert_raises(ActionController::InvalidAuthenticityToken) { get('read', got.set, HTTP_X_CSRF_TOKEN: 'x', **post) }
  end

  def test_what_json_has_not
    assert_match(/\Asession\["at"\] is of the class (ActiveSupport::TimeWithZone|Time),/, assert_raises(TypeError) { get('time') }.message)
    assert_equal 'session["for"]["cart"] is of the class ActiveSupport::Duration, which JSON does not have',
                 assert_raises(TypeError) { get('duration') }.message
  end

  def test_stream
    got = get('late')
    assert_equal 'first', got.body
    assert_match(/CaddyStore: session\["late"\] was changed after the response had begun/, got.errors)
  end
  # Returns what the application answers, where requests have X-Session-Api.
  def ask(path, data)
    api = SessionAPI.new(data)
    env = environment(data, path: path, HTTP_HOST: 'localhost', HTTP_X_SESSION_API: api.url)
    [answer(Application, env), api]
  ensure
    api.close
  end

  def test_save
    got, api = ask('/api/save', { 'n' => 1 })
    assert_equal "#{ID} true", got.body
    assert_equal [['PATCH', '', { 'n' => 2 }], ['POST', '/max-age?seconds=3600']], api.asked
    got, api = ask('/api/reset', { 'user' => 'alice' })
    assert_equal "#{NEW_ID} 1", got.body
    assert_equal({ 'n' => 1 }, api.data)
  end

  def test_reload
    got, api = ask('/api/reload', { 'n' => 5 })
    assert_equal '5 6', got.body
    assert_equal({ 'n' => 6 }, api.data)
  end

  # It is saved with the session, though Rails 7.1 keeps it aside until the end.
  def test_save_token
    got, api = ask('/api/token', nil)
    assert_equal %w[_csrf_token], api.data.keys
    assert_nil got.set
  end

  # What changes after the head. Rails 6.1 does not say that the body streams.
  def test_live
    api = SessionAPI.new({})
    env = environment({}, path: '/live/late', HTTP_HOST: 'localhost', HTTP_X_SESSION_API: api.url, 'rack.errors': StringIO.new)
    _, headers, body = Application.call(env)
    early = headers['x-session-set'] ? JSON.parse(headers['x-session-set']) : api.data
    assert_equal({ 'early' => 1 }, early)
    body.each { |part| LiveController::RECEIVED << true if part == 'first' }
    body.close
    assert_equal 1, api.data['late']
    assert_empty env['rack.errors'].string
  ensure
    api.close
  end
end
