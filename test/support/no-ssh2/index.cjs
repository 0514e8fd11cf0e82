"use strict"

exports.Client = function Client() {
  throw new Error("These tests do not speak to Docker over ssh://: set DOCKER_HOST to a unix:// or tcp:// address")
}
