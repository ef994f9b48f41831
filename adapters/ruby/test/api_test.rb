# frozen_string_literal: true

require_relative 'helper'
require 'openssl'
require 'rack/session/caddy'

# Rack::Session::Caddy where requests have X-Session-Api.
class APITest < Minitest::Test
  include Requests

  LARGE = 'x' * (1 << 20)

  def teardown
    @api&.close
  end

  # A body of two parts, between which the block is called.
  class Streaming
    def initialize(&between)
      @between = between
    end

    def each
      yield 'first'
      @between.call
      yield ' last'
    end
  end

  # Has the application answer a request of a session with data, which headers hold
  # unless only the API does. The block gets the session and returns a body.
  def visit(data, options: {}, headers: {}, held: true, **more)
    @api ||= SessionAPI.new(data)
    app = lambda do |env|
      @session = env['rack.session']
      body = yield @session, env
      [200, headers, body.respond_to?(:each) || body.respond_to?(:call) ? body : ['body']]
    end
    env = environment(data, HTTP_X_SESSION_API: @api.url, **more)
    env.delete('HTTP_X_SESSION_DATA') unless held
    answer(Rack::Session::Caddy.new(app, options), env)
  end

  def test_large
    got = visit({ 'large' => LARGE, 'cart' => { 'a' => 1 } }, held: false) do |session|
      assert session.exists?
      assert_empty @api.asked
      assert_equal LARGE, session[:large]
      assert_equal 1, session[:cart][:a]
      session[:cart][:b] = 2
    end
    assert_equal [['GET', '']], @api.asked
    assert_equal({ 'x-session-set' => '{"cart":{"b":2}}' }, got.asks)
    assert_empty got.errors
    @api.asked.clear
    assert_empty visit({ 'large' => LARGE }, held: false) { |session| session.id }.asks
    assert_empty @api.asked
  end

  # Without need, the API is not asked: all goes as it does without it.
  def test_with_the_response
    got = visit({ 'n' => 1 }) { |session| session[:n] += 1 }
    assert_equal({ 'x-session-set' => '{"n":2}' }, got.asks)
    assert_empty @api.asked
  end

  def test_save
    got = visit({ 'n' => 1, 'cart' => { 'a' => 1 } }) do |session|
      session[:n] = 2
      session[:cart] = { 'a' => nil }
      session.delete(:other)
      assert_equal true, session.save
      assert_equal [['PUT', '', { 'cart' => { 'a' => nil } }], ['PATCH', '', { 'n' => 2 }]], @api.asked
      assert session.save
      assert_equal 2, @api.asked.size
      session[:n] = 3
    end
    assert_equal({ 'x-session-set' => '{"n":3}' }, got.asks)
    assert_empty(visit({ 'n' => 1 }) { |session| session[:n] = 2; session.save }.asks)
  end

  def test_save_begins
    got = visit(nil) do |session|
      refute session.exists?
      session.save
      assert_empty @api.asked
      session[:text] = 'Zoë'
      session.save
      assert_equal [['PATCH', '', { 'text' => 'Zoë' }]], @api.asked
      assert session.exists?
      assert_equal NEW_ID, session.id.public_id
      assert_equal 'Zoë', session[:text]
    end
    assert_empty got.asks
  end

  def test_save_replaces
    got = visit({ 'user' => 'alice' }) do |session|
      session.clear
      session[:n] = 1
      session.save
      assert_equal NEW_ID, session.id.public_id
      session[:n] = 2
    end
    assert_equal [['POST', '/clear'], ['PATCH', '', { 'n' => 1 }]], @api.asked
    assert_equal({ 'x-session-set' => '{"n":2}' }, got.asks)
  end

  def test_save_ends
    got = visit({ 'user' => 'alice' }) do |session|
      session.destroy
      session.save
      assert_nil @api.data
      assert_empty session
    end
    assert_equal [['DELETE', '']], @api.asked
    assert_empty got.asks
  end

  def test_save_with_options
    got = visit({ 'n' => 1 }, options: { renew: true, expire_after: 60 }) do |session|
      session[:n] = 2
      session.save
    end
    assert_equal [['POST', '/renew'], ['PATCH', '', { 'n' => 2 }], ['POST', '/max-age?seconds=60']], @api.asked
    assert_equal({ 'x-session-control' => 'max-age=60' }, got.asks) # the API says another time
    @api.asked.clear
    visit({ 'n' => 1 }, options: { skip: true }) { |session| session[:n] = 2; session.save }
    assert_empty @api.asked
    visit({ 'n' => 1 }, options: { drop: true }) { |session| session[:n] = 2; session.save }
    assert_equal [['DELETE', '']], @api.asked
  end

  # What Rack itself has for it.
  def test_commit_session
    middleware = Rack::Session::Caddy.new(lambda { |env|
      env['rack.session'][:n] = 2
      response = Rack::Response::Raw.new(200, {})
      middleware.commit_session(Rack::Request.new(env), response)
      assert_equal [['PATCH', '', { 'n' => 2 }]], @api.asked
      assert_empty response.headers
      [200, {}, []]
    })
    @api = SessionAPI.new({ 'n' => 1 })
    assert_empty answer(middleware, environment({ 'n' => 1 }, HTTP_X_SESSION_API: @api.url)).asks
  end

  def test_reload
    got = visit({ 'n' => 1, 'mine' => 1 }) do |session|
      session[:mine] = 2
      @api.data = { 'n' => 5, 'mine' => 1, 'theirs' => { 'a' => 1 } }
      assert_same session, session.reload
      assert_equal({ 'n' => 5, 'mine' => 1, 'theirs' => { 'a' => 1 } }, session.to_hash)
      session[:theirs][:b] = 2
    end
    assert_equal({ 'x-session-set' => '{"theirs":{"b":2}}' }, got.asks)
    visit(nil) do |session|
      session[:n] = 1
      assert_empty session.reload
    end
  end

  def test_with_lock
    visit({ 'n' => 1 }) do |session|
      session[:before] = 1
      @api.during = ->(method, path) { @api.data['n'] = 7 if method == 'POST' && path.start_with?('/lock') }
      assert_equal('done', session.with_lock(wait: 1.5) { session[:n] += 1; 'done' })
      assert_equal [['PATCH', '', { 'before' => 1 }], ['POST', '/lock?wait=1500ms'], ['GET', ''], ['PATCH', '', { 'n' => 8 }], ['DELETE', '/lock']],
                   @api.asked
      @api.asked.clear
      assert_raises(ArgumentError) { session.with_lock { raise ArgumentError } }
      assert_equal ['DELETE', '/lock'], @api.asked.last
      @api.refuses = { 'POST /lock' => 423 }
      assert_equal 423, assert_raises(Rack::Session::Caddy::Error) { session.with_lock { flunk } }.status
      assert_equal ['POST', '/lock?wait=5000ms'], @api.asked.last
      @api.refuses = { 'DELETE /lock' => 404 } # a block within has given it back
      session.with_lock { session[:n] = 0 }
      @api.refuses = { 'DELETE /lock' => 503 }
      assert_equal 503, assert_raises(Rack::Session::Caddy::Error) { session.with_lock {} }.status
    end
    visit(nil) { |session| session.with_lock { session[:n] = 1 } }
    assert_equal ['PATCH', '', { 'n' => 1 }], @api.asked.last
  end

  def test_stream
    got = visit({ 'n' => 1 }, options: { expire_after: 60 }) do |session|
      session[:n] = 2
      Streaming.new do
        assert_equal 2, @api.data['n'] # saved before the response begins
        session[:n] = 3
        session[:late] = nil
        session[:cart] = {}
      end
    end
    assert_equal 'first last', got.body
    assert_equal({ 'n' => 3, 'cart' => {} }, @api.data)
    assert_empty got.errors
    assert_empty got.asks.slice('x-session-set')
    # A session that nobody has looked at before, and none.
    visit({ 'n' => 1 }) { |session| Streaming.new { session[:later] = 1 } }
    assert_equal 1, @api.data['later']
    @api.asked.clear
    visit({ 'n' => 1 }) { Streaming.new {} }
    assert_empty @api.asked
  end

  # The session is read in the stream, where there is none, and saved there.
  def test_stream_saves
    visit(nil) do |session|
      Streaming.new do
        assert_nil session[:n]
        session[:n] = 1
        session.save
        assert_equal 1, @api.data['n']
        session.reload
        session[:n] += 1
      end
    end
    assert_equal({ 'n' => 2 }, @api.data)
  end

  # After its last byte, a response is complete.
  def test_content_length
    { '10' => 1, '11' => nil }.each do |length, saved|
      @api = SessionAPI.new({})
      app = ->(env) { [200, { 'Content-Length' => length }, Streaming.new { env['rack.session'][:late] = 1 }] }
      _, _, body = Rack::Session::Caddy.new(app).call(environment({}, HTTP_X_SESSION_API: @api.url))
      seen = {}
      body.each { |part| seen[part] = @api.data['late'] }
      assert_equal({ 'first' => nil, ' last' => saved }, seen)
      assert_equal 1, @api.data['late']
      @api.close
    end
    @api = nil
  end

  # The body of Rack 3 that writes for itself.
  def test_callable
    closed = nil
    stream = StringIO.new
    stream.define_singleton_method(:close) { closed = true }
    @api = SessionAPI.new({})
    app = lambda do |env|
      write = lambda do |out|
        out.write('first')
        env['rack.session'][:late] = 1
        out.close
      end
      [200, {}, write]
    end
    @api.during = ->(*) { assert_nil closed }
    _, _, body = Rack::Session::Caddy.new(app).call(environment({}, HTTP_X_SESSION_API: @api.url, 'rack.errors': StringIO.new))
    refute_respond_to body, :each
    assert_respond_to body, :call
    body.call(stream)
    body.close
    assert_equal [['PATCH', '', { 'late' => 1 }]], @api.asked
    assert closed
  end

  # An application that takes the connection for itself sends no head of Rack's.
  def test_hijack
    got = visit({}, 'rack.hijack_io': StringIO.new) { |session| session[:n] = 1; [] }
    assert_equal [['PATCH', '', { 'n' => 1 }]], @api.asked
    assert_empty got.asks
  end

  # A body that is known as a whole, and its callbacks.
  def test_closed
    got = visit({ 'n' => 1 }) do |session|
      session[:n] = 2
      Rack::BodyProxy.new(['body']) { session[:late] = 1 }
    end
    assert_equal({ 'x-session-set' => '{"n":2}' }, got.asks)
    assert_equal [['PATCH', '?begun', { 'late' => 1 }]], @api.asked # once the head is there
  end

  def test_late_errors
    @api = SessionAPI.new({ 'n' => 1, 'gone' => 1 })
    [401, 409, 410, 503].each do |status|
      @api.refuses = { 'PATCH' => status }
      got = visit({ 'n' => 1, 'gone' => 1 }) do |session|
        Streaming.new do
          session[:n] = 2
          session.delete(:gone)
        end
      end
      assert_equal 'first last', got.body
      assert_equal %w[gone n].map { |key|
        "Rack::Session::Caddy: session[\"#{key}\"] was changed after the response had begun: the change is lost: " \
          "the session API answers PATCH / with #{status}: no, for a reason\n"
      }, got.errors.lines
    end
    @api.refuses = { 'POST /clear' => 409 }
    got = visit({}) { |session| Streaming.new { session.clear } }
    assert_match(%r{Caddy: session was changed after .* is lost: the session API answers POST /clear with 409: no, for a reason$}, got.errors)
    got = visit({}) { |session| Streaming.new { session[:at] = Time.now } }
    assert_equal 1, got.errors.lines.size
    assert_match(/session\["at"\] is of the class Time/, got.errors)
  end

  def test_errors
    [409, 412, 413, 422, 503].each do |status|
      error = nil
      got = visit({ 'n' => 1 }) do |session|
        @api.refuses = { 'PATCH' => status }
        session[:n] = 2
        error = assert_raises(Rack::Session::Caddy::Error) { session.save }
      end
      assert_equal [status, "the session API answers PATCH / with #{status}: no, for a reason"], [error.status, error.message]
      assert_equal({ 'x-session-set' => '{"n":2}' }, got.asks) # it is tried again with the head
    end
    @api.refuses = { 'PATCH' => 503 }
    assert_raises(Rack::Session::Caddy::Error) { visit({}) { |session| session[:n] = 1; Streaming.new {} } }
    @api.refuses = { 'GET' => 410 }
    assert_equal 410, assert_raises(Rack::Session::Caddy::Error) { visit({ 'n' => 1 }, held: false) { |session| session[:n] } }.status
    assert_raises(TypeError) { visit({}) { |session| session[:at] = Time.now; session.save } }
  end

  def test_no_answer
    @api = SessionAPI.new({})
    ['http://127.0.0.1:1/secret', 'http+unix://%2Fnone/secret'].each do |url|
      error = assert_raises(Rack::Session::Caddy::Error) { visit({}, held: false, HTTP_X_SESSION_API: url) { |session| session[:n] } }
      assert_nil error.status
      assert_match(/\Athe session API does not answer: /, error.message)
      refute_includes error.full_message, 'secret'
    end
    error = assert_raises(Rack::Session::Caddy::Error) { visit({}, HTTP_X_SESSION_API: 'ftp://x/secret') { |session| session.reload } }
    assert_equal 'X-Session-Api is no URL of a session API', error.message
  end

  def test_tcp
    @api = SessionAPI.new({ 'n' => 1 }, tls: nil)
    visit({}, held: false) { |session| assert_equal 1, session[:n] }
  end

  # The certificate is checked.
  def test_tls
    key = OpenSSL::PKey::EC.generate('prime256v1')
    certificate = OpenSSL::X509::Certificate.new
    certificate.version = 2
    certificate.serial = 1
    certificate.subject = certificate.issuer = OpenSSL::X509::Name.parse('/CN=test')
    certificate.public_key = key
    certificate.not_before = Time.now - 60
    certificate.not_after = Time.now + 3600
    extensions = OpenSSL::X509::ExtensionFactory.new(certificate, certificate)
    certificate.add_extension(extensions.create_extension('basicConstraints', 'CA:TRUE', true))
    certificate.add_extension(extensions.create_extension('subjectAltName', 'IP:127.0.0.1'))
    certificate.sign(key, 'SHA256')
    context = OpenSSL::SSL::SSLContext.new
    context.key = key
    context.cert = certificate
    @api = SessionAPI.new({ 'n' => 1 }, tls: context)
    read = -> { visit({}, held: false) { |session| assert_equal 1, session[:n] } }
    assert_match(/certificate/, assert_raises(Rack::Session::Caddy::Error, &read).message)
    OpenSSL::SSL::SSLContext::DEFAULT_CERT_STORE.add_cert(certificate)
    read.call
  end

  def test_without
    app = lambda do |env|
      session = env['rack.session']
      session[:n] = 2
      assert_equal false, session.save
      session.reload
      assert_equal 1, session[:n]
      session[:n] = 3
      assert_match(/no X-Session-Api/, assert_raises(Rack::Session::Caddy::Error) { session.with_lock { flunk } }.message)
      [200, {}, []]
    end
    assert_equal({ 'x-session-set' => '{"n":3}' }, answer(Rack::Session::Caddy.new(app), environment({ 'n' => 1 })).asks)
  end
end
