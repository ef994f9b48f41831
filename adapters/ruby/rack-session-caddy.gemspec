# frozen_string_literal: true

Gem::Specification.new do |gem|
  gem.name = 'rack-session-caddy'
  gem.version = File.read(File.join(__dir__, 'lib/rack/session/caddy.rb'))[/VERSION = '(.*)'/, 1]
  gem.summary = 'Sessions that Caddy keeps, for Rack, Sinatra and Rails'
  gem.authors = ['The caddy-session authors']
  gem.homepage = 'https://github.com/caddy-session/caddy-session'
  gem.license = 'Apache-2.0'
  gem.required_ruby_version = '>= 2.7'
  gem.files = ['lib/rack/session/caddy.rb']
  # Rack 2.2, or Rack 3 with rack-session, comes with the application.
end
