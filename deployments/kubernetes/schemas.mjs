// Converts the OpenAPI documents of Kubernetes to JSON schemas for kubeconform:
//
//   node schemas.mjs OPENAPI_FOLDER SCHEMA_FOLDER
//
// Kubernetes is stricter than its documents. It can reject unknown fields, and the fields below accept
// only these values. This script adds both rules.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const values = {
  imagePullPolicy: ['Always', 'IfNotPresent', 'Never'],
  pathType: ['Exact', 'Prefix', 'ImplementationSpecific'],
  policyTypes: ['Ingress', 'Egress'],
  protocol: ['TCP', 'UDP', 'SCTP'],
  restartPolicy: ['Always', 'OnFailure', 'Never'],
  scheme: ['HTTP', 'HTTPS'],
  unhealthyPodEvictionPolicy: ['AlwaysAllow', 'IfHealthyBudget'],
  whenUnsatisfiable: ['DoNotSchedule', 'ScheduleAnyway'],
}

// tighten is a JSON.parse reviver that adds the rules to each schema.
function tighten(name, schema) {
  if (schema?.type === 'object' && schema.properties) schema.additionalProperties = false
  if (Object.hasOwn(values, name) && schema?.type === 'string') schema.enum = values[name]
  if (Object.hasOwn(values, name) && schema?.type === 'array') schema.items.enum = values[name]

  return schema
}

const [from, to] = process.argv.slice(2)

for (const file of readdirSync(from)) {
  const { components } = JSON.parse(readFileSync(join(from, file)), tighten)
  writeFileSync(join(to, file), JSON.stringify({ components }))

  for (const [name, schema] of Object.entries(components?.schemas ?? {})) {
    const kinds = schema['x-kubernetes-group-version-kind'] ?? []
    if (kinds.length !== 1) continue // not an object, but for example the options of a request

    const [{ group, version, kind }] = kinds
    const path = [kind, group.split('.')[0], version].filter(Boolean).join('-').toLowerCase()
    writeFileSync(join(to, `${path}.json`), JSON.stringify({ $ref: `${file}#/components/schemas/${name}` }))
  }
}
