# frozen_string_literal: true

require_relative 'helper'
require 'rack/session/caddy'
require 'bigdecimal'
require 'date'

# Rack::Session::Caddy for an application that is nothing but a block.
class RackTest < Minitest::Test
  include Requests

  # Runs the block with the session, as an application behind Caddy.
  def visit(data = nil, options: {}, response: [200, {}, ['body']], **more, &block)
    app = lambda do |env|
      block&.call(env['rack.session'], env)
      response
    end
    answer(Rack::Session::Caddy.new(app, options), environment(data, **more))
  end

  def test_begins_and_reads
    got = visit do |session|
      assert_nil session.id
      refute session.exists?
      assert_empty session
      assert_nil session[:user]
      refute session.loaded?
      session[:user] = 'alice'
      assert session.loaded?
      assert_equal NEW_ID, session.id.public_id
    end
    assert_equal({ 'x-session-set' => '{"user":"alice"}' }, got.asks)

    got = visit({ 'user' => 'alice', 'cart' => { 'a' => [1, { 'b' => 2 }] } }) do |session|
      refute session.loaded?
      assert session.exists?
      assert_equal 'alice', session['user']
      assert session.loaded?
      assert_equal 'alice', session.fetch(:user)
      assert_equal 2, session.dig(:cart, 'a', 1, 'b')
      assert_raises(KeyError) { session.fetch(:other) }
      assert_equal 5, session.fetch(:other, 5)
      assert session.key?(:user)
      assert_equal %w[user cart], session.keys
      assert_equal ['alice', { 'a' => [1, { 'b' => 2 }] }], session.values
      assert_equal({ 'user' => 'alice', 'cart' => { 'a' => [1, { 'b' => 2 }] } }, session.to_hash)
    end
    assert_empty got.asks
  end

  def test_id
    visit({}) do |session|
      assert_kind_of Rack::Session::SessionId, session.id
      assert_equal ID, session.id.public_id
      assert_equal ID, session.id.to_s
      assert_equal "2::#{Digest::SHA256.hexdigest(ID)}", session.id.private_id
      assert_equal ID, session['session_id']
    end
  end

  def test_unused
    assert_empty visit('not JSON').asks
    assert_empty(visit('not JSON') { |session| session.id }.asks)
    # To look into a session that is not there is no use, and to remove nothing is no change.
    assert_empty(visit { |session| session.delete(:x) }.asks)
  end

  def test_no_cookie
    got = visit(options: { key: 'app', path: '/', secure: true, same_site: :lax, httponly: true, sidbits: 256, secret: 'x' },
                HTTP_COOKIE: 'app=1') { |session| session[:a] = 1 }
    assert_equal %w[x-session-set], got.headers.keys
  end

  # Others write what Rack does not keep.
  RACK_REMOVES_NIL = {
    'null at the top' => {},
    'null takes the place of a value' => { 'set' => { 'a' => nil, 'b' => 2 } },
    'cleared, and null' => { 'control' => 'clear', 'set' => { 'b' => 1 } }
  }.freeze

  def test_vectors
    vectors = JSON.parse(File.read(File.expand_path('../../vectors.json', __dir__)))
    assert_operator vectors.size, :>=, 50
    differ = vectors.select { |vector| visit_vector(vector) != vector.slice('set', 'put', 'control') }
    assert_equal RACK_REMOVES_NIL, differ.to_h { |vector| [vector['name'], visit_vector(vector)] }
  end

  def visit_vector(vector)
    got = visit(vector['before']) do |session|
      vector.key?('control') ? session.clear : (session.keys - vector['after'].keys).each { |key| session.delete(key) }
      session.update(vector['after'])
    end
    got.asks.each_value { |value| assert_match(/\A[ -~]+\z/, value, vector['name']) }
    { 'set' => got.set, 'put' => got.put, 'control' => got.control }.compact
  end

  def test_nested_changes
    got = visit({ 'cart' => { 'a' => 1, 'b' => { 'n' => 1 } }, 'list' => [{ 'x' => 1 }], 'name' => 'a' }) do |session|
      session[:cart]['b']['n'] += 1
      session[:cart].delete('a')
      session[:list][0]['x'] = 2
      session[:name] << 'b'
    end
    assert_equal({ 'cart' => { 'a' => nil, 'b' => { 'n' => 2 } }, 'list' => [{ 'x' => 2 }], 'name' => 'ab' }, got.set)
  end

  def test_symbols
    got = visit { |session| session[:flash] = { notice: 'saved', 'error' => { code: 1 } } }
    data = got.set
    assert_equal({ 'flash' => { 'notice' => 'saved', 'error' => { 'code' => 1 } } }, data)
    got = visit(data) do |session|
      flash = session[:flash]
      assert_kind_of Hash, flash
      assert_equal data['flash'], flash
      assert_equal 'saved', flash[:notice]
      assert_equal 'saved', flash.fetch(:notice)
      assert_equal 1, session.dig(:flash, :error, :code)
      assert_equal [nil, 'saved'], flash.values_at(:other, :notice)
      assert flash.key?(:notice)
      assert_equal({ 'notice' => 'saved' }, flash.slice(:notice))
      assert_equal 'x', flash.merge(notice: 'x')['notice']
      assert_equal 'saved', flash.delete(:notice)
      flash[:error][:code] = 2
      flash.merge!(now: true)
      assert_equal true, flash['now']
    end
    assert_equal({ 'flash' => { 'notice' => nil, 'error' => { 'code' => 2 }, 'now' => true } }, got.set)
  end

  def test_what_json_has_not
    {
      Time.at(0) => 'session["a"]["b"][1] is of the class Time, which JSON does not have',
      Date.new(2000) => 'session["a"]["b"][1] is of the class Date, which JSON does not have',
      :symbol => 'session["a"]["b"][1] is of the class Symbol, which JSON does not have',
      BigDecimal('1') => 'session["a"]["b"][1] is of the class BigDecimal, which JSON does not have',
      Struct.new(:x).new(1) => /\Asession\["a"\]\["b"\]\[1\] is of the class #<Class:\w+>, which/,
      Float::NAN => 'session["a"]["b"][1] is NaN, which JSON does not have',
      Float::INFINITY => 'session["a"]["b"][1] is Infinity, which JSON does not have',
      "\xFF" => 'session["a"]["b"][1] has a String that is not UTF-8, which JSON does not have',
      "\xFF".b => 'session["a"]["b"][1] has a String that is not UTF-8, which JSON does not have',
      { 42 => 1 } => 'session["a"]["b"][1] has the key 42 of the class Integer, where JSON has strings only',
      { k: 1, 'k' => 1 } => 'session["a"]["b"][1] has the key "k" twice, as a Symbol and a String'
    }.each do |value, message|
      error = assert_raises(TypeError, message) { visit { |session| session[:a] = { b: [0, value] } } }
      assert_match message, error.message
    end
    error = assert_raises(TypeError) do
      visit { |session| session[:loop] = {}.tap { |hash| hash[:again] = hash } }
    end
    assert_equal 'session["loop"] contains itself, or has more than 100 levels', error.message
  end

  def test_text
    got = visit do |session|
      session[:binary] = 'Zoë'.b
      session[:latin] = 'Zoë'.encode('ISO-8859-1')
      session[:frozen] = 'x'.freeze
    end
    assert_equal({ 'binary' => 'Zoë', 'latin' => 'Zoë', 'frozen' => 'x' }, got.set)
  end

  # Rack removes it. What other applications keep is theirs.
  def test_nil
    assert_equal({ 'a' => nil }, visit({ 'a' => 1, 'theirs' => nil }) { |session| session[:a] = nil }.set)
    assert_empty(visit { |session| session[:a] = nil }.asks)
    assert_equal({ 'a' => { 'b' => nil } }, visit({ 'a' => {} }) { |session| session[:a]['b'] = nil }.put)
    assert_equal({ 'theirs' => nil }, visit({ 'theirs' => nil }) { |session| session.delete(:theirs) }.set)
  end

  def test_clear
    got = visit({ 'user' => 'alice' }) do |session|
      session.clear
      assert_equal NEW_ID, session.id.public_id
      assert_empty session
    end
    assert_equal({ 'x-session-control' => 'clear' }, got.asks)
    assert_empty visit { |session| session.clear }.asks
  end

  def test_destroy
    got = visit({ 'user' => 'alice' }) do |session|
      session.destroy
      assert_equal NEW_ID, session.id.public_id
      assert_nil session[:user]
    end
    assert_equal({ 'x-session-control' => 'destroy' }, got.asks)
    got = visit({ 'user' => 'alice', 'n' => 1 }) do |session|
      session.destroy
      session[:n] = 1
    end
    assert_equal({ 'x-session-control' => 'clear', 'x-session-set' => '{"n":1}' }, got.asks)
    assert_empty visit { |session| session.destroy }.asks
  end

  # Returns what is asked for with options of Rack in the environment.
  def asks_with(data, **options)
    visit(data) do |session, env|
      session[:n] = 2 unless options.delete(:unused)
      env['rack.session.options'].update(options)
      yield session if block_given?
    end.asks
  end

  def test_renew
    assert_equal({ 'x-session-control' => 'renew', 'x-session-set' => '{"n":2}' }, asks_with({ 'n' => 1 }, renew: true))
    assert_equal({ 'x-session-control' => 'renew' }, asks_with('not JSON', renew: true, unused: true))
    assert_equal({ 'x-session-set' => '{"n":2}' }, asks_with(nil, renew: true))
    assert_empty asks_with(nil, renew: true, unused: true)
  end

  def test_drop
    assert_equal({ 'x-session-control' => 'destroy' }, asks_with({ 'n' => 1 }, drop: true))
    assert_equal({ 'x-session-control' => 'destroy' }, asks_with('not JSON', drop: true, unused: true))
    assert_empty asks_with(nil, drop: true)
  end

  def test_skip
    assert_empty asks_with({ 'n' => 1 }, skip: true)
    assert_empty asks_with(nil, skip: true)
    assert_empty(asks_with({}, skip: true) { |session| session[:at] = Time.now })
    assert_empty asks_with({ 'n' => 1 }, skip: true, &:clear)
    assert_equal({ 'x-session-control' => 'destroy' }, asks_with({ 'n' => 1 }, skip: true, &:destroy))
  end

  def test_defer
    assert_equal({ 'x-session-set' => '{"n":2}' }, asks_with({ 'n' => 1 }, defer: true))
    assert_empty asks_with(nil, defer: true)
    assert_equal({ 'x-session-set' => '{"n":2}' }, asks_with(nil, defer: true, renew: true))
  end

  def test_expire_after
    left = ->(seconds) { { HTTP_X_SESSION_EXPIRES: (Time.now.to_i + seconds).to_s } }
    change = proc { |session| session[:n] = 1 }
    with = { expire_after: 1000 }
    assert_equal({ 'x-session-control' => 'max-age=1000', 'x-session-set' => '{"n":1}' }, visit(options: with, &change).asks)
    assert_equal 'max-age=1000', visit({}, options: with, **left[990], &change).control
    assert_equal 'max-age=60', visit({}, options: { max_age: 60, expire_after: 1000 }, &change).control
    # It slides, in tenths, also where the session is not looked at.
    assert_empty visit('not JSON', options: with, **left[950]).asks
    assert_equal({ 'x-session-control' => 'max-age=1000' }, visit('not JSON', options: with, **left[850]).asks)
    assert_equal({ 'x-session-control' => 'max-age=1000' }, visit({}, options: with, **left[3600]).asks)
    assert_empty visit({}, options: with).asks
    assert_empty visit(options: with).asks
  end

  def test_application_asks_for_more
    got = visit({ 'n' => 1 }, response: [200, { 'X-Session-Control' => 'revoke-others' }, []]) { |session| session.clear }
    expected = Rack.release < '3' ? "revoke-others\nclear" : %w[revoke-others clear]
    assert_equal({ 'X-Session-Control' => expected }, got.headers)
  end

  def test_late_change
    kept = nil
    body = Enumerator.new do |out|
      out << 'first'
      kept[:late] = 1
      kept[:cart]['late'] = 1
      kept.delete(:gone)
      out << 'last'
    end
    data = { 'cart' => {}, 'gone' => 1, 'same' => 1 }
    [->(session) { session[:early] = 1 }, ->(_) {}].each do |early|
      got = visit(data, response: [200, {}, body]) do |session|
        kept = session
        early.call(session)
      end
      assert_equal 'firstlast', got.body
      lines = got.errors.lines
      assert_equal %w[cart gone late], lines.map { |line| line[/session\["(\w+)"\] was changed after the response had begun: the change is lost$/, 1] }.sort
    end
    kept = nil
    late = Enumerator.new { |out| kept[:when] = Time.now; out << '' }
    assert_match(/session\["when"\] is of the class Time/, visit({}, response: [200, {}, late]) { |session| kept = session }.errors)
    assert_empty visit({ 'n' => 1 }) { |session| session[:n] = 2 }.errors
  end

  # What is in the environment before is taken along, as Rack does.
  def test_session_of_before
    got = visit({ 'n' => 1 }, 'rack.session': { 'given' => 1 }) { |session| assert_equal 1, session[:given] }
    assert_equal({ 'given' => 1 }, got.set)
  end

  def without_caddy
    Rack::Session::Caddy::Visit.warned = false
    app = Rack::Session::Caddy.new(lambda { |env|
      assert_empty env['rack.session']
      env['rack.session'][:n] = 1
      assert_equal 1, env['rack.session'][:n]
      assert_match(/\A[\w-]{22}\z/, env['rack.session'].id.public_id)
      [200, {}, []]
    })
    Array.new(2) { answer(app, Rack::MockRequest.env_for('/')) }
  end

  def test_without_caddy
    first, second = without_caddy
    assert_empty first.headers
    assert_match(/\ARack::Session::Caddy: the request has neither X-Session-Id nor X-Session-New-Id: .*request_headers lacks new_id.* not kept\.\n\z/, first.errors)
    assert_empty second.errors
  end

  def test_required
    app = Rack::Session::Caddy.new(->(_) { flunk 'the application is asked' }, required: true)
    assert_match(/neither X-Session-Id nor/, assert_raises(RuntimeError) { app.call(Rack::MockRequest.env_for('/')) }.message)
  end

  def test_without_data
    app = Rack::Session::Caddy.new(->(env) { [200, {}, [env['rack.session'][:n].to_s]] })
    env = Rack::MockRequest.env_for('/', 'HTTP_X_SESSION_ID' => ID)
    assert_match(/no X-Session-Data/, assert_raises(RuntimeError) { answer(app, env) }.message)
  end
end
